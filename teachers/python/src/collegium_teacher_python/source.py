"""The task source: programs whose order of steps matters, demonstrations of which a third are right."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from functools import cached_property

from pydantic import Field

from collegium import Config as BaseConfig
from collegium import DataError, Demonstration, Split, Task, TaskSource
from collegium_teacher_python.programs import ALPHABET, KINDS, PREFIX, TESTS, Kind, Program, all_programs, tests_of

OWNER = "collegium-teacher-python"


class PythonTasks(TaskSource):
    """Prompts such as ``int: add 3, mul 4 = ``, completed by the body of ``def f(x): return``, run against tests.

    Every task's tests tell the right order of the steps from the reverse. A hash of the two steps, whatever their order
    and the argument's type, holds out a share of the programs. Of the demonstrations, `right_share` do the first step
    first (``"right"``), the others the last step first (``"reversed"``).
    """

    class Config(BaseConfig):
        """Options of the task source `python`."""

        seed: int = 0
        """Seed of the demonstrations' quality and order."""
        largest: int = Field(default=9, ge=3, le=99)
        """Largest constant in a step."""
        longest: int = Field(default=7, ge=2, le=7)
        """Most items that a slice takes or drops."""
        heldout_share: float = Field(default=0.2, gt=0, lt=1)
        """Share of the programs held out."""
        repeats: int = Field(default=4, ge=1)
        """Demonstrations of each training program, each right or reversed on its own."""
        right_share: float = Field(default=0.35, ge=0, le=1)
        """Share of right demonstrations."""
        kinds: tuple[Kind, ...] = Field(default=KINDS, min_length=1)
        """Types of the argument: ``int``, ``str``, ``list``."""
        more_slices: bool = False
        """Also take the last items, all but the last, every second: strings or lists alone are few without."""

    verifier = "code"
    alphabet = ALPHABET
    origin = "generated"

    def tasks(self, split: Split) -> Sequence[Task]:
        """Return the tasks of a split; `data` holds ``tests`` and the ``prefix`` that makes a completion a function.

        Raises:
            DataError: If the options leave a split empty.
        """
        tasks = [_task(program, tests, split) for program, tests in self._programs[split]]
        if not tasks:
            raise DataError(
                f"task source 'python' has no {split} task with largest={self.config.largest}, "
                f"longest={self.config.longest}, heldout_share={self.config.heldout_share}, "
                f"kinds={list(self.config.kinds)}",
                fix="raise 'largest', or move 'heldout_share' towards 0.2",
                owner=OWNER,
            )
        return tasks

    def demonstrations(self) -> Sequence[Demonstration]:
        """Return `repeats` completions of every training program, shuffled."""
        rng = random.Random(f"demonstrations {self.config.seed}")
        shown = [
            self._demonstrate(program, tests, rng.random())
            for program, tests in self._programs["train"]
            for _ in range(self.config.repeats)
        ]
        rng.shuffle(shown)
        return shown

    def answers(self) -> Sequence[Demonstration]:
        """Return the right and the reversed completion of every training program: what preferences are made of."""
        pairs = [(program, _task(program, tests, "train")) for program, tests in self._programs["train"]]
        right = [Demonstration(task, program.right, "right") for program, task in pairs]
        return [*right, *(Demonstration(task, program.wrong, "reversed") for program, task in pairs)]

    def texts(self) -> Sequence[str]:
        """Return every training program written in either order, as raw text."""
        programs = [program for program, _ in self._programs["train"]]
        return [f"{program.prompt}{body}" for program in programs for body in (program.right, program.wrong)]

    @cached_property
    def _programs(self) -> dict[Split, list[tuple[Program, list[str]]]]:
        splits: dict[Split, list[tuple[Program, list[str]]]] = {"train": [], "heldout": []}
        config = self.config
        for program in all_programs(config.largest, config.longest, config.kinds, more=config.more_slices):
            if len(tests := tests_of(program)) == TESTS:
                splits[self._split_of(program)].append((program, tests))
        return splits

    def _split_of(self, program: Program) -> Split:
        """Hold out by the pair of steps, in whatever order and for whatever argument.

        A program's reverse has for its right answer the program's wrong one, and a twin of another type has the very
        same answer: on opposite sides, either would show in training what is held out. Whatever else the options add,
        a pair stays on its side.
        """
        pair = "|".join(sorted(step.name for step in program.steps))
        fraction = int.from_bytes(hashlib.sha256(pair.encode()).digest()[:8]) / 2**64
        return "heldout" if fraction < self.config.heldout_share else "train"

    def _demonstrate(self, program: Program, tests: list[str], draw: float) -> Demonstration:
        task = _task(program, tests, "train")
        if draw < self.config.right_share:
            return Demonstration(task, program.right, "right")
        return Demonstration(task, program.wrong, "reversed")


def _task(program: Program, tests: list[str], split: Split) -> Task:
    return Task(
        id=f"{split}/{program.prompt.removesuffix(' = ')}",
        prompt=program.prompt,
        reference=program.right,
        data={"tests": tests, "prefix": PREFIX},
    )
