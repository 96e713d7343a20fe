"""A task that remembers what was read of it, so that a check knows what a verifier's judgement rests on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from collegium.task import Task


class WatchedData(dict[str, Any]):
    """Task data that remembers the keys that were looked up, or went by in a loop."""

    def __init__(self, data: dict[str, Any]) -> None:
        super().__init__(data)
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self.read.add(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """Look a key up."""
        self.read.add(key)
        return super().get(key, default)

    def __iter__(self) -> Iterator[str]:
        self.read.update(super().keys())
        return super().__iter__()

    def keys(self) -> Any:
        """Return the keys; all count as read."""
        self.read.update(super().keys())
        return super().keys()

    def values(self) -> Any:
        """Return the values; all count as read."""
        self.read.update(super().keys())
        return super().values()

    def items(self) -> Any:
        """Return the items; all count as read."""
        self.read.update(super().keys())
        return super().items()


class WatchedTask(Task):
    """A task that remembers whether its reference was read."""

    reference_read: bool

    def __init__(self, task: Task) -> None:
        super().__init__(task.id, task.prompt, task.reference, WatchedData(dict(task.data)), task.domain)
        object.__setattr__(self, "reference_read", False)

    def __getattribute__(self, name: str) -> Any:
        if name == "reference":
            object.__setattr__(self, "reference_read", True)
        return super().__getattribute__(name)
