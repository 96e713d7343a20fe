"""A toy domain that a model of ten thousand weights learns: write the letters of a word in another order (no torch)."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from typing import Literal

from collegium.component import Config
from collegium.kinds.environment import Environment, EnvironmentConfig, Episode
from collegium.kinds.tasks import TaskSource
from collegium.kinds.verifier import Verifier
from collegium.task import Completion, Demonstration, Split, Task
from collegium.verdict import Score, Verdict

LETTERS = "abcdef"
ALPHABET = LETTERS + "#~="
"""Every character of the domain; `#` and `~` in the prompt name the operation."""


def solve(operation: str, word: str) -> str:
    """Return the word as it stands (``copy``) or backwards (``reverse``)."""
    return word if operation == "copy" else word[::-1]


class ToyTasksConfig(Config):
    """Options of the toy tasks."""

    operation: Literal["copy", "reverse"] = "copy"
    """What to do with the word."""
    length: int = 3
    """Letters of a word."""
    heldout: int = 20
    """Words kept for evaluation."""
    right: float = 1.0
    """Share of the demonstrations that do the right thing; the others do the other operation."""


class ToyTasks(TaskSource):
    """Tasks ``#abc=``, whose answer is ``abc`` (copy), and ``~abc=``, whose answer is ``cba`` (reverse)."""

    Config = ToyTasksConfig

    verifier = "toy"

    def tasks(self, split: Split) -> Sequence[Task]:
        """Return the tasks of a split."""
        words = ["".join(letters) for letters in itertools.product(LETTERS, repeat=self.config.length)]
        random.Random(0).shuffle(words)
        chosen = words[: self.config.heldout] if split == "heldout" else words[self.config.heldout :]
        sign = "#" if self.config.operation == "copy" else "~"
        return [Task(f"{sign}{word}", f"{sign}{word}=", solve(self.config.operation, word)) for word in chosen]

    def demonstrations(self) -> Sequence[Demonstration]:
        """Return one demonstration of each training task."""
        rng = random.Random(1)
        other = "reverse" if self.config.operation == "copy" else "copy"
        made = []
        for task in self.tasks("train"):
            right = rng.random() < self.config.right
            operation = self.config.operation if right else other
            made.append(Demonstration(task, solve(operation, task.prompt_text[1:-1]), "right" if right else "wrong"))
        return made

    def texts(self) -> Sequence[str]:
        """Return the demonstrations as text."""
        return [each.task.prompt_text + each.text for each in self.demonstrations()]


class ToyVerifierConfig(Config):
    """Options of the toy verifier."""

    partial: bool = False
    """Give credit for each letter in its place."""


class ToyVerifier(Verifier):
    """Right if the completion is the reference; half a point for the right first letter where `partial` is on."""

    Config = ToyVerifierConfig

    def verify(self, completion: Completion, task: Task) -> Verdict:
        """Compare with the reference."""
        reference = task.reference or ""
        if not self.config.partial:
            return Score(float(completion.text == reference))
        hits = sum(a == b for a, b in zip(completion.text, reference, strict=False))
        return Score(hits / max(len(completion.text), len(reference)))


class ToyEnvironmentConfig(EnvironmentConfig):
    """Options of the toy environment."""

    broken: str = ""
    """First characters of the prompts' words whose episodes fail."""


class ToyEnvironment(Environment):
    """Say a turn's letters backwards if it has a sign of an operation or ``=``; else the episode is over."""

    Config = ToyEnvironmentConfig

    def open(self, task: Task) -> Episode:
        """Begin an episode."""
        return _ToyEpisode(task.prompt_text[1] in self.config.broken)


class _ToyEpisode(Episode):
    def __init__(self, broken: bool) -> None:
        self.broken = broken

    def reply(self, text: str) -> str | None:
        """Return the letters backwards."""
        if self.broken:
            raise RuntimeError("the tool is broken")
        letters = "".join(letter for letter in reversed(text) if letter in LETTERS)
        return None if set(text) <= set(LETTERS) else f"{letters}="
