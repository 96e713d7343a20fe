"""The task source `amounts`: ``12mol>mmol=``, whose answer is ``12000 mmol``."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from collegium import Config, Demonstration, Split, Task, TaskSource

AMOUNTS = range(1, 200)


class AmountsConfig(Config):
    """Options of the task source `amounts`."""

    unit: Literal["mol", "L"] = "mol"
    """Base unit to convert from."""
    heldout: int = Field(default=40, ge=1, le=100)
    """Held-out tasks."""
    right: float = Field(default=0.5, ge=0, le=1)
    """Share of the demonstrations that are right; the others forget the factor of a thousand."""


class AmountsTasks(TaskSource):
    """Conversions to the unit's thousandth."""

    Config = AmountsConfig
    verifier = "units"

    def tasks(self, split: Split) -> Sequence[Task]:
        """Return the tasks of a split."""
        made = [self._task(amount) for amount in AMOUNTS]
        random.Random(0).shuffle(made)
        return made[: self.config.heldout] if split == "heldout" else made[self.config.heldout :]

    def demonstrations(self) -> Sequence[Demonstration]:
        """Return demonstrations of mixed quality."""
        rng = random.Random(1)
        return [self._demonstration(task, rng.random() < self.config.right) for task in self.tasks("train")]

    def texts(self) -> Sequence[str]:
        """Return the demonstrations as raw text."""
        return [each.task.prompt_text + each.completion for each in self.demonstrations()]

    def _task(self, amount: int) -> Task:
        unit = self.config.unit
        return Task(f"{amount}{unit}", f"{amount}{unit}>m{unit}=", reference=f"{amount * 1000} m{unit}")

    def _demonstration(self, task: Task, right: bool) -> Demonstration:
        answer = task.reference or ""
        return Demonstration(task, answer if right else answer.replace("000", "", 1), "right" if right else "no-factor")
