"""The task source `assistant`: short instructions, answered politely or less so."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from pydantic import Field

from collegium import Config as BaseConfig
from collegium import DataError, Demonstration, Split, Task, TaskSource
from collegium.kinds.data_files import find_data_folder
from collegium.training.model_spec import PRINTABLE_ASCII
from collegium_teacher_assistant.checks import instructions
from collegium_teacher_assistant.exchanges import FILE, OWNER, Exchange, own_exchanges, real_exchanges


class AssistantTasks(TaskSource):
    """Instructions such as ``What is the capital of Indonesia?``, with one answer that is preferred to another.

    A hash of the prompt holds a share of them out, with both their answers. Demonstrations are the preferred answer
    (``"polite"``) and, more often, the other (``"plain"``, or ``"impolite"`` where it was made worse than plain).
    """

    class Config(BaseConfig):
        """Options of the task source `assistant`."""

        data: str = "auto"
        """``auto`` (the real pairs where they are found, else the package's own), ``generated``, or their folder."""
        seed: int = 0
        """Seed of the demonstrations' order."""
        max_chars: int = Field(default=120, ge=20)
        """Most characters of a prompt with its longer answer; longer exchanges are left out."""
        heldout_share: float = Field(default=0.2, gt=0, lt=1)
        """Share of the prompts held out."""
        rejected_repeats: int = Field(default=2, ge=0)
        """Demonstrations of each less polite answer, beside one of the polite answer."""
        max_words: int = Field(default=20, ge=2)
        """Most words of an answer, of which a task's constraints are one."""

    verifier = "instructions"
    alphabet = PRINTABLE_ASCII

    @cached_property
    def folder(self) -> Path | None:
        """The folder of real data in use, or None when the instructions are the package's own."""
        if self.config.data == "auto":
            return find_data_folder((FILE,))
        return None if self.config.data == "generated" else Path(self.config.data)

    @property
    def origin(self) -> str:
        """Say in words where the instructions come from."""
        return "the package's own facts" if self.folder is None else f"real pairs in {self.folder}"

    def tasks(self, split: Split) -> Sequence[Task]:
        """Return the instructions of a split; `data` holds IFEval's ``instruction_id_list`` and ``kwargs``.

        Raises:
            DataError: If the options leave none.
        """
        exchanges = self.exchanges(split)
        if not exchanges:
            raise DataError(
                f"task source 'assistant' has no {split} instruction with max_chars={self.config.max_chars}, "
                f"heldout_share={self.config.heldout_share}",
                fix="raise 'max_chars', or move 'heldout_share' towards 0.2",
                owner=OWNER,
            )
        return [self._task(each) for each in exchanges]

    def demonstrations(self) -> Sequence[Demonstration]:
        """Return both answers to every training instruction, shuffled."""
        repeats = self.config.rejected_repeats
        shown = [each for exchange in self.exchanges("train") for each in self._demonstrate(exchange, repeats)]
        random.Random(f"assistant {self.config.seed}").shuffle(shown)
        return shown

    def answers(self) -> Sequence[Demonstration]:
        """Return both answers to every training instruction once."""
        return [each for exchange in self.exchanges("train") for each in self._demonstrate(exchange, 1)]

    def texts(self) -> Sequence[str]:
        """Return every training instruction with either answer, as raw text."""
        return [f"{each.prompt}{text}" for each in self.exchanges("train") for text in (each.chosen, each.rejected)]

    def files(self) -> Sequence[Path]:
        """Return the file of pairs when it is in use."""
        return () if self.folder is None else (self.folder / FILE,)

    def exchanges(self, split: Split) -> list[Exchange]:
        """Return a split's exchanges; preferences over the training ones are safe to train on."""
        return [each for each in self._exchanges if self._split_of(each) == split]

    @cached_property
    def _exchanges(self) -> list[Exchange]:
        found = own_exchanges() if self.folder is None else real_exchanges(self.folder)
        allowed = set(self.alphabet)
        by_prompt: dict[str, Exchange] = {}
        for each in found:
            if each.length <= self.config.max_chars and set(each.prompt + each.chosen + each.rejected) <= allowed:
                by_prompt.setdefault(each.prompt, each)
        return list(by_prompt.values())

    def _split_of(self, exchange: Exchange) -> Split:
        fraction = int.from_bytes(hashlib.sha256(exchange.prompt.encode()).digest()[:8]) / 2**64
        return "heldout" if fraction < self.config.heldout_share else "train"

    def _task(self, exchange: Exchange) -> Task:
        return Task(exchange.id, exchange.prompt, exchange.output, instructions(exchange, self.config.max_words))

    def _demonstrate(self, exchange: Exchange, repeats: int) -> list[Demonstration]:
        task = self._task(exchange)
        worse = Demonstration(task, exchange.rejected, exchange.rejected_quality)
        return [Demonstration(task, exchange.chosen, "polite"), *[worse] * repeats]
