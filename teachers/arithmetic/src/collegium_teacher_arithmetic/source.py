"""The task source: expressions that need a carry, demonstrations of which a third are right."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from collegium import DataError, Demonstration, Split, Task, TaskSource
from collegium.kinds.data_files import find_data_folder
from collegium_teacher_arithmetic.config import SIGNS, ArithmeticConfig
from collegium_teacher_arithmetic.equations import HELDOUT_FILE, OWNER, TRAIN_FILE, Range, easy, from_gsm8k, generated
from collegium_teacher_arithmetic.expression import ALPHABET, Expression
from collegium_teacher_arithmetic.modes import CYRILLIC, LATIN, TAGS, Mode, Words, complete, prompt

EASY_REPEATS = 4
"""How often an easy expression is shown for each time that one to work out is: there are few, and they are short."""


class ArithmeticTasks(TaskSource):
    """Sums such as ``57+68=``, completed by worked columns, ``;`` and the answer.

    Training and held-out tasks are those whose answer changes when a carry is forgotten. Demonstrations also cover the
    other training expressions (quality ``"either"``); among those that tell, `right_share` carry (``"right"``) and the
    rest forget to (``"no-carry"``).
    """

    Config = ArithmeticConfig

    verifier = "math"

    @property
    def alphabet(self) -> str:
        """Every character of the prompts, completions and texts, those of the tags included."""
        more = [*self._wanted.signs]
        if self.config.modes != ("plain",):
            more += "".join(TAGS)
        if self.config.mixed_language is not None:
            more += LATIN + CYRILLIC
        return ALPHABET + "".join(dict.fromkeys(char for char in more if char not in ALPHABET))

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
        """Return the expressions of a split that need a carry or a borrow, in each mode; easy ones to answer at once.

        Raises:
            DataError: If the options leave none.
        """
        tasks = [_task(each, mode, split) for mode, each in self._items(split) if _counts(each, mode)]
        if not tasks:
            raise DataError(
                f"task source 'arithmetic' has no {split} task with operations={list(self.config.operations)}, "
                f"digits={self.config.digits}, heldout_share={self.config.heldout_share}",
                fix="raise 'heldout_share', or allow more digits or operations",
                owner=OWNER,
            )
        return tasks

    def demonstrations(self) -> Sequence[Demonstration]:
        """Return worked completions of every training expression, in each mode, shuffled."""
        rng = random.Random(f"demonstrations {self.config.seed}")
        words = self._words("demonstrations", self.config.mixed_demonstrations)
        shown = [
            self._demonstrate(expression, mode, rng.random() < self.config.right_share, words)
            for mode, expression in self._items("train")
            for _ in range(self._repeats(expression, mode))
        ]
        rng.shuffle(shown)
        return shown

    def answers(self) -> Sequence[Demonstration]:
        """Return the right and the wrong completion of every training task: what preferences are made of."""
        words = self._words("answers", self.config.mixed_demonstrations)
        return [
            self._demonstrate(expression, mode, right, words)
            for mode, expression in self._items("train")
            for right in (True, False)
            if _counts(expression, mode)
        ]

    def texts(self) -> Sequence[str]:
        """Return every training expression worked in either way, as raw text.

        Of mode ``none`` the work stands in tags as often as not: the form is then something to learn.
        """
        words = self._words("texts", self.config.mixed_language or 0.0)
        return [
            f"{prompt(each, mode)}{complete(each, written, right=right, words=words)}"
            for mode, each in self._items("train")
            for right in (True, False)
            for written in ((mode, "plain") if mode == "none" else (mode,))
            for _ in range(EASY_REPEATS if mode == "non-think" else 1)
        ]

    def files(self) -> Sequence[Path]:
        """Return GSM8K's two files when they are in use."""
        return () if self.folder is None else (self.folder / TRAIN_FILE, self.folder / HELDOUT_FILE)

    @property
    def _wanted(self) -> Range:
        return Range("".join(SIGNS[each] for each in self.config.operations), 10**self.config.digits - 1)

    @cached_property
    def _expressions(self) -> dict[Split, list[Expression]]:
        config = self.config
        if self.folder is not None:
            train, heldout = from_gsm8k(self.folder, self._wanted, config.heldout_share)
        else:
            train, heldout = generated(config.train, config.heldout, config.seed, self._wanted)
        return {"train": train, "heldout": heldout}

    @cached_property
    def _easy(self) -> dict[Split, list[Expression]]:
        train, heldout = easy(self._wanted)
        return {"train": train, "heldout": heldout}

    def _items(self, split: Split) -> Iterator[tuple[Mode, Expression]]:
        for mode in self.config.modes:
            yield from ((mode, each) for each in (self._easy if mode == "non-think" else self._expressions)[split])

    def _repeats(self, expression: Expression, mode: Mode) -> int:
        repeats: int = self.config.repeats
        if mode == "non-think":
            return repeats * EASY_REPEATS
        return repeats if _counts(expression, mode) else 1

    def _words(self, purpose: str, foreign: float) -> Words:
        share = None if self.config.mixed_language is None else foreign
        return Words(random.Random(f"words of {purpose} {self.config.seed}"), share)

    def _demonstrate(self, expression: Expression, mode: Mode, right: bool, words: Words) -> Demonstration:
        wrong = "misplaced" if mode == "non-think" else "no-carry"
        quality = ("right" if right else wrong) if _counts(expression, mode) else "either"
        completion = complete(expression, mode, right=right, words=words)
        return Demonstration(_task(expression, mode, "train"), completion, quality)


def _counts(expression: Expression, mode: Mode) -> bool:
    """Whether the right and the wrong procedure give two answers."""
    return mode == "non-think" or expression.tells_apart


def _task(expression: Expression, mode: Mode, split: Split) -> Task:
    bare = mode == "plain"
    return Task(
        id=f"{split}/{expression}" if bare else f"{split}/{mode}/{expression}",
        prompt=prompt(expression, mode),
        reference=str(expression.value),
        mode="" if mode in ("plain", "none") else mode,
    )
