"""Completions as judged, and the file that holds them while the stage runs.

The file is append-only and each line carries its step, so that a resumed stage cuts it back to its checkpoint.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from collegium.task import Message, Task


@dataclass(frozen=True, slots=True)
class Judged:
    """One completion.

    Args:
        task: The task's id.
        domain: Its domain.
        prompt: Text, or chat messages.
        completion: Text; of an episode its turns, ``{"text", "sampled"}``.
        score: None if it was not scored (its verifier abstained or failed).
        truncated: Whether it was cut at the token limit.
        tokens: How many were sampled.
        source: The model that it comes from, as the recipe names it.
        passes: Whether every verifier of `keep_if` scored it 1.
    """

    task: str
    domain: str
    prompt: str | list[Message]
    completion: str | list[dict[str, Any]]
    score: float | None
    truncated: bool
    tokens: int
    source: str
    passes: bool = True

    @property
    def key(self) -> str:
        """What tells prompts apart."""
        return json.dumps([self.domain, self.prompt], sort_keys=True)

    @property
    def completion_key(self) -> str:
        """What tells completions apart."""
        return json.dumps(self.completion, sort_keys=True)


def plain_prompt(task: Task) -> str | list[Message]:
    """Return a task's prompt as JSON holds it."""
    return task.prompt if isinstance(task.prompt, str) else [Message(**turn) for turn in task.prompt]


class JudgedFile:
    """The judged completions of a stage that runs.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, step: int, judged: Sequence[Judged]) -> None:
        """Add a step's completions."""
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps({"step": step, **asdict(each)}) + "\n" for each in judged)

    def cut(self, step: int) -> int:
        """Drop every line of a later step, and one that was not finished; return how many are left."""
        kept = [line for line in self._lines() if (row := _parsed(line)) is not None and row["step"] <= step]
        part = self.path.with_name(self.path.name + ".part")
        part.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        os.replace(part, self.path)
        return len(kept)

    def read(self) -> list[Judged]:
        """Return all of them, in order."""
        rows = [json.loads(line) for line in self._lines() if line]
        return [Judged(**{name: value for name, value in row.items() if name != "step"}) for row in rows]

    def _lines(self) -> list[str]:
        return self.path.read_text(encoding="utf-8").split("\n") if self.path.exists() else []


def _parsed(line: str) -> Mapping[str, Any] | None:
    try:
        row: Mapping[str, Any] = json.loads(line)
    except ValueError:  # the stage was killed while it wrote this line
        return None
    return row
