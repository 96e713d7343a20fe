"""The task source: errands that need a tool, demonstrations of which a third are right."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Literal

from pydantic import ConfigDict, Field

from collegium import Config as BaseConfig
from collegium import Demonstration, Split, Task, TaskSource
from collegium.task import transcript
from collegium_teacher_desk.errand import MISTAKES, Errand
from collegium_teacher_desk.errands import DRAWS

HELD_OUT = 5
"""One question in so many may be held out; which one says a hash of it, whatever the seed."""
MOST_DRAWS = 100
"""Draws for each errand wanted, after which there are not enough different ones."""


class DeskConfig(BaseConfig):
    """Options of the task source `desk`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"tool": "calculator"}]})

    tool: Literal["calculator", "database", "python"]
    """The tool, which is also the name of the environment that the domain needs."""
    seed: int = 0
    """Seed of the errands and of the demonstrations' quality."""
    train: int = Field(default=1500, ge=1, le=2_000)
    """Errands to train on."""
    heldout: int = Field(default=200, ge=1, le=300)
    """Errands held out."""
    repeats: int = Field(default=2, ge=1)
    """Demonstrations of each training errand."""
    right_share: float = Field(default=0.35, ge=0, le=1)
    """Share of right demonstrations, in [0, 1]."""


class DeskTasks(TaskSource):
    """Questions such as ``47*86+12? ``, whose answer ``=4054`` comes after two calls of a tool.

    A right demonstration (quality ``"right"``) asks the tool and copies its answer; most of the others answer a call
    too early with a number that they read (``"stop-early"``), some without the tool (``"guess"``) or with a digit
    copied wrong (``"miscopy"``).
    """

    Config = DeskConfig
    verifier = "math"
    alphabet = '0123456789abcdefghijklmnopqrstuvwxyz+-*=?"()[]:,. \n'

    @property
    def environment(self) -> str:  # type: ignore[override]  # depends on the options
        """The environment that the domain needs."""
        return str(self.config.tool)

    def tasks(self, split: Split) -> Sequence[Task]:
        """Return the errands of a split."""
        return [_task(errand, split) for errand in self._errands[split]]

    def demonstrations(self) -> Sequence[Demonstration]:
        """Return `repeats` demonstrations of every training errand, shuffled."""
        rng = random.Random(f"demonstrations {self.config.seed}")
        shown = [
            self._demonstrate(errand, rng) for errand in self._errands["train"] for _ in range(self.config.repeats)
        ]
        rng.shuffle(shown)
        return shown

    def texts(self) -> Sequence[str]:
        """Return every training errand done in the right way, as raw text."""
        return [f"{errand.question}{transcript(errand.right())}" for errand in self._errands["train"]]

    @cached_property
    def _errands(self) -> dict[Split, list[Errand]]:
        rng = random.Random(f"desk {self.config.tool} {self.config.seed}")
        wanted: dict[Split, int] = {"train": self.config.train, "heldout": self.config.heldout}
        found: dict[Split, dict[str, Errand]] = {"train": {}, "heldout": {}}
        for errand in self._drawn(rng, MOST_DRAWS * sum(wanted.values())):
            split: Split = "heldout" if _hash(errand.question) % HELD_OUT == 0 else "train"
            if len(found[split]) < wanted[split]:
                found[split].setdefault(errand.question, errand)
            if all(len(found[side]) == count for side, count in wanted.items()):
                break
        return {split: list(errands.values()) for split, errands in found.items()}

    def _drawn(self, rng: random.Random, most: int) -> Iterator[Errand]:
        for _ in range(most):
            yield DRAWS[self.config.tool](rng)

    def _demonstrate(self, errand: Errand, rng: random.Random) -> Demonstration:
        right = rng.random() < self.config.right_share
        (mistake,) = rng.choices(list(MISTAKES), weights=list(MISTAKES.values()))
        turns = errand.right() if right else errand.wrong(mistake, rng)
        return Demonstration(_task(errand, "train"), turns, "right" if right else mistake)


def _task(errand: Errand, split: Split) -> Task:
    return Task(f"{split}/{errand.question.strip()}", errand.question, errand.answer, dict(errand.data))


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
