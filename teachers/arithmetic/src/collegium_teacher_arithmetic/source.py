"""The task source: expressions that need a carry, demonstrations of which a third are right."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from pydantic import Field

from collegium import Config, Demonstration, Split, Task, TaskSource
from collegium.kinds.data_files import find_data_folder
from collegium_teacher_arithmetic.equations import HELDOUT_FILE, TRAIN_FILE, from_gsm8k, generated
from collegium_teacher_arithmetic.expression import ALPHABET, Expression, work


class ArithmeticTasks(TaskSource):
    """Sums such as ``57+68=``, completed by worked columns, ``;`` and the answer.

    Training and held-out tasks are those whose answer changes when a carry is forgotten. Demonstrations also cover the
    other training expressions (quality ``"either"``); among those that tell, `right_share` carry (``"right"``) and the
    rest forget to (``"no-carry"``).
    """

    class Config(Config):
        """Options of the task source `arithmetic`."""

        data: str = "auto"
        """``auto`` (GSM8K where it is found, else generated), ``generated``, or a folder with GSM8K's two files."""
        seed: int = 0
        """Seed of the generator and of the demonstrations' quality."""
        train: int = Field(default=4000, ge=1, le=20_000)
        """Distinct training expressions to generate; what GSM8K has is taken whole."""
        heldout: int = Field(default=280, ge=1, le=4_000)
        """Distinct held-out expressions to generate; what GSM8K has is taken whole."""
        repeats: int = Field(default=2, ge=1)
        """Demonstrations of each training expression that tells the two procedures apart; the others have one."""
        right_share: float = Field(default=0.35, ge=0, le=1)
        """Share of right demonstrations among the expressions that tell the two procedures apart, in [0, 1]."""

    verifier = "math"
    alphabet = ALPHABET

    @cached_property
    def folder(self) -> Path | None:
        """The folder of real data in use, or None when the expressions are generated."""
        if self.config.data == "auto":
            return find_data_folder((TRAIN_FILE, HELDOUT_FILE))
        return None if self.config.data == "generated" else Path(self.config.data)

    @property
    def origin(self) -> str:
        """Say in words where the expressions come from."""
        return "generated" if self.folder is None else f"GSM8K's worked answers in {self.folder}"

    def tasks(self, split: Split) -> Sequence[Task]:
        """Return the expressions of a split that need a carry or a borrow."""
        return [_task(expression, split) for expression in self._expressions[split] if expression.tells_apart]

    def demonstrations(self) -> Sequence[Demonstration]:
        """Return worked completions of every training expression, shuffled."""
        rng = random.Random(f"demonstrations {self.config.seed}")
        shown = [
            self._demonstrate(expression, rng.random())
            for expression in self._expressions["train"]
            for _ in range(self.config.repeats if expression.tells_apart else 1)
        ]
        rng.shuffle(shown)
        return shown

    def texts(self) -> Sequence[str]:
        """Return every training expression worked in either way, as raw text."""
        expressions = self._expressions["train"]
        return [f"{each}={work(each, carrying=carrying)}" for each in expressions for carrying in (True, False)]

    def files(self) -> Sequence[Path]:
        """Return GSM8K's two files when they are in use."""
        return () if self.folder is None else (self.folder / TRAIN_FILE, self.folder / HELDOUT_FILE)

    @cached_property
    def _expressions(self) -> dict[Split, list[Expression]]:
        if self.folder is not None:
            train, heldout = from_gsm8k(self.folder)
        else:
            train, heldout = generated(self.config.train, self.config.heldout, self.config.seed)
        return {"train": train, "heldout": heldout}

    def _demonstrate(self, expression: Expression, draw: float) -> Demonstration:
        carrying = draw < self.config.right_share
        quality = ("right" if carrying else "no-carry") if expression.tells_apart else "either"
        return Demonstration(_task(expression, "train"), work(expression, carrying=carrying), quality)


def _task(expression: Expression, split: Split) -> Task:
    return Task(id=f"{split}/{expression}", prompt=f"{expression}=", reference=str(expression.value))
