"""Task sources: the tasks of a domain, its held-out set, and its demonstrations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from collegium.component import Configurable
from collegium.task import Demonstration, PicturedText, Split, Task


class TaskSource(Configurable):
    """Supply the tasks of one domain. Subclass and write `tasks`; deterministic given its config and files."""

    verifier: ClassVar[str | None] = None
    """Short name of the verifier whose fields the tasks carry; the plan refuses a domain that names another."""
    environment: ClassVar[str | None] = None
    """Short name of the environment that the tasks are made for; the plan refuses a domain without it."""

    def tasks(self, split: Split) -> Sequence[Task]:
        """Return the tasks of a split. No prompt is in both; `domain` is left empty for the core to fill in.

        Raises:
            DataError: If a file is missing, truncated or empty.
        """
        raise NotImplementedError

    def demonstrations(self) -> Sequence[Demonstration]:
        """Return demonstrations on training tasks, for SFT. Default: none."""
        return ()

    def texts(self) -> Sequence[str]:
        """Return raw text in the domain's alphabet, for pretraining a model from scratch. Default: none."""
        return ()

    def pictured_texts(self) -> Sequence[PicturedText]:
        """Return raw text with pictures, none of them a held-out task's, for pretraining. Default: none."""
        return ()

    def files(self) -> Sequence[Path]:
        """Return the data files it reads; their digests are part of every fingerprint that depends on them."""
        return ()
