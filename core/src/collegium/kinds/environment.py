"""Environments: what a model talks to over several turns, such as a tool."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from collegium.component import Config, Configurable
from collegium.task import Task


class EnvironmentConfig(Config):
    """Base of an environment's options: what the core reads of them."""

    max_turns: int = Field(default=8, ge=1)
    """Turns of the model in an episode; one that would need more is cut."""
    max_context: int | None = Field(default=None, ge=1)
    """Most tokens of an episode: prompt, turns and replies. Default: the model's context."""
    prefix: str = ""
    """What stands before each reply, such as ``"\\n<|im_start|>tool\\n"``; special tokens in it are special."""
    suffix: str = ""
    """What stands after each reply, such as ``"<|im_end|>\\n<|im_start|>assistant\\n"``."""


class Episode:
    """One task's conversation with the environment. Subclass and write `reply`."""

    def reply(self, text: str) -> str | None:
        """Return what the environment says to a turn of the model, or None if the episode is over.

        Args:
            text: The turn as the model wrote it, without the end-of-sequence token. It may be anything: whatever can
                harm the host, run for ever or fill its memory belongs in a process of its own.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Release what the episode holds; called once, also after an error."""


class Environment(Configurable):
    """Open episodes. Subclass and write `open`; plain Python, no torch.

    The core runs the conversation (`collegium.training.episodes`): it calls `open` and `reply` in worker threads under
    a time limit. What raises, hangs, or returns anything but text or None makes the sample an `Error` owned by the
    environment's distribution, and its row is left out of training.
    """

    Config: ClassVar[type[EnvironmentConfig]] = EnvironmentConfig
    timeout_s: ClassVar[float] = 10.0
    """Seconds that one call may take."""
    at_once: int = 1
    """Episodes whose replies may be asked for at the same time, from as many threads."""

    def open(self, task: Task) -> Episode:
        """Begin an episode of a task; equal tasks and turns must give equal replies."""
        raise NotImplementedError

    def close(self) -> None:
        """Release what the environment holds."""


def call_of(text: str, mark: str) -> str | None:
    """Return what follows a mark at the beginning of a turn's last line, or None: most tools are called so.

    Args:
        text: The turn; empty lines at its end do not count.
        mark: Such as ``"calc "``.
    """
    line = text.rstrip().rpartition("\n")[2]
    return line[len(mark) :].strip() if line.startswith(mark) else None
