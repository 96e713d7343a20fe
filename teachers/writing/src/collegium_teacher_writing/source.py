"""The task source: words to write in a form, demonstrations of which a third keep to the form."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import Field

from collegium import Config as BaseConfig
from collegium import DataError, Demonstration, Split, Task, TaskSource
from collegium.kinds.data_files import find_data_folder
from collegium_teacher_writing.forms import ALPHABET, NAMES, Form, Name, combination, instructions, write
from collegium_teacher_writing.words import FILE, OWNER, own_words, story_words


@dataclass(frozen=True, slots=True)
class Piece:
    """Words to write, and the forms that they must have."""

    words: tuple[str, ...]
    forms: tuple[Form, ...]

    @property
    def prompt(self) -> str:
        """The words and the forms: ``sea tree, capitals, quoted: ``."""
        return f"{' '.join(self.words)}, {', '.join(form.name for form in self.forms)}: "


class WritingTasks(TaskSource):
    """Prompts such as ``sea tree, capitals: ``, completed by those words in that form.

    A hash of the words, whatever their order, holds a share of them out. Of the demonstrations, `right_share` keep to
    the form (``"right"``); the others write the words and leave the last form out (``"form-forgotten"``).
    """

    class Config(BaseConfig):
        """Options of the task source `writing`."""

        data: str = "auto"
        """``auto`` (stories where they are found, else the package's words), ``generated``, or the stories' folder."""
        seed: int = 0
        """Seed of the tasks and of the demonstrations' quality."""
        vocabulary: int = Field(default=120, ge=10)
        """Words to choose from: the commonest ones."""
        words: int = Field(default=2, ge=1, le=4)
        """Words per task."""
        train: int = Field(default=2400, ge=1)
        """Training tasks."""
        heldout: int = Field(default=200, ge=1)
        """Held-out tasks."""
        right_share: float = Field(default=0.35, ge=0, le=1)
        """Share of right demonstrations."""
        forms: tuple[Name, ...] = Field(default=NAMES, min_length=1)
        """What may be asked for: forms and combinations, such as ``capitals`` or ``capitals+quoted``."""

    verifier = "instructions"
    alphabet = ALPHABET

    @cached_property
    def folder(self) -> Path | None:
        """The folder of real data in use, or None when the words are the package's own."""
        if self.config.data == "auto":
            return find_data_folder((FILE,))
        return None if self.config.data == "generated" else Path(self.config.data)

    @property
    def origin(self) -> str:
        """Say in words where the words come from."""
        return "the package's own words" if self.folder is None else f"children's stories in {self.folder}"

    def tasks(self, split: Split) -> Sequence[Task]:
        """Return the tasks of a split; `data` holds IFEval's ``instruction_id_list`` and ``kwargs``."""
        return [_task(piece, split) for piece in self._pieces[split]]

    def demonstrations(self) -> Sequence[Demonstration]:
        """Return one completion per training task."""
        rng = random.Random(f"demonstrations {self.config.seed}")
        return [self._demonstrate(piece, rng.random()) for piece in self._pieces["train"]]

    def answers(self) -> Sequence[Demonstration]:
        """Return the words of every training task with and without the last form: what preferences are made of."""
        return [self._demonstrate(piece, draw) for piece in self._pieces["train"] for draw in (-1.0, 1.0)]

    def texts(self) -> Sequence[str]:
        """Return every training task's words with and without the last form, as raw text."""
        return [
            f"{piece.prompt}{write(piece.words, forms)}"
            for piece in self._pieces["train"]
            for forms in (piece.forms, piece.forms[:-1])
        ]

    def files(self) -> Sequence[Path]:
        """Return the stories' file when it is in use."""
        return () if self.folder is None else (self.folder / FILE,)

    @cached_property
    def _pieces(self) -> dict[Split, list[Piece]]:
        count = self.config.vocabulary
        words = own_words(count) if self.folder is None else story_words(self.folder, count)
        wanted: dict[Split, int] = {"train": self.config.train, "heldout": self.config.heldout}
        combinations = [combination(name) for name in self.config.forms]
        found: dict[Split, dict[Piece, None]] = {"train": {}, "heldout": {}}
        rng = random.Random(f"writing {self.config.seed}")
        for _ in range(100 * sum(wanted.values())):
            piece = Piece(tuple(rng.sample(words, self.config.words)), rng.choice(combinations))
            if len(found[split := _split_of(piece.words)]) < wanted[split]:
                found[split].setdefault(piece)
            elif all(len(found[split]) == wanted[split] for split in wanted):
                return {split: list(pieces) for split, pieces in found.items()}
        raise self._too_few({split: len(pieces) for split, pieces in found.items()})

    def _too_few(self, found: dict[Split, int]) -> DataError:
        config = self.config
        return DataError(
            f"task source 'writing' can make no more than {found} tasks of vocabulary={config.vocabulary}, "
            f"words={config.words}; expected train={config.train}, heldout={config.heldout}",
            fix="raise 'vocabulary' or 'words', or ask for fewer tasks",
            owner=OWNER,
        )

    def _demonstrate(self, piece: Piece, draw: float) -> Demonstration:
        if draw < self.config.right_share:
            return Demonstration(_task(piece, "train"), write(piece.words, piece.forms), "right")
        return Demonstration(_task(piece, "train"), write(piece.words, piece.forms[:-1]), "form-forgotten")


def _split_of(words: tuple[str, ...]) -> Split:
    """Hold out one in five combinations of words, whatever their order and form."""
    digest = hashlib.sha256(" ".join(sorted(words)).encode()).digest()
    return "heldout" if digest[0] % 5 == 0 else "train"


def _task(piece: Piece, split: Split) -> Task:
    return Task(
        id=f"{split}/{piece.prompt.removesuffix(': ')}",
        prompt=piece.prompt,
        reference=write(piece.words, piece.forms),
        data=instructions(piece.words, piece.forms),
    )
