"""An errand: a question, the calls that answer it, and the mistakes that a demonstration may make."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from collegium import Turn

ANSWER = "="
"""What begins the answer, the last turn of an errand."""
MISTAKES = {"stop-early": 0.8, "guess": 0.1, "miscopy": 0.1}
"""Ways of getting it wrong, and their shares: answer a call too early with a number that was read, answer without the
tool, or copy a digit wrong. The first is what a model that has learnt from all of them does at its likeliest."""


@dataclass(frozen=True, slots=True)
class Errand:
    """One question and the way to its answer.

    Args:
        question: The prompt.
        calls: What is asked of the tool, in order.
        replies: What the tool says to each.
        other: Another number that the question or a reply shows, which is not the answer.
        data: What the environment reads of the task.
    """

    question: str
    calls: tuple[str, ...]
    replies: tuple[str, ...]
    other: str
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def answer(self) -> str:
        """The answer: the last reply."""
        return self.replies[-1]

    def right(self) -> tuple[Turn, ...]:
        """Return the turns of somebody who asks the tool and copies its answer."""
        return self._turns(len(self.calls), self.answer)

    def wrong(self, mistake: str, rng: random.Random) -> tuple[Turn, ...]:
        """Return the turns of somebody who makes a mistake."""
        if mistake == "guess":
            return self._turns(0, _changed(self.answer, rng, digits=len(self.answer)))
        if mistake == "stop-early":
            return self._turns(len(self.calls) - 1, self.other)
        return self._turns(len(self.calls), _changed(self.answer, rng, digits=1))

    def _turns(self, asked: int, answer: str) -> tuple[Turn, ...]:
        said = [
            turn
            for call, reply in zip(self.calls[:asked], self.replies[:asked], strict=True)
            for turn in (Turn(call), Turn(f"{reply}\n", sampled=False))
        ]
        return (*said, Turn(f"{ANSWER}{answer}"))


def _changed(number: str, rng: random.Random, *, digits: int) -> str:
    """Return a number of as many digits, of which some were drawn anew; never the same number."""
    places = rng.sample(range(len(number)), digits)
    while True:
        drawn = "".join(rng.choice("123456789") if at in places else digit for at, digit in enumerate(number))
        if int(drawn) != int(number):
            return drawn
