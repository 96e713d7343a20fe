"""Modes: how an expression is to be answered, which the end of the prompt says, and how that is written.

DeepSeek-V3.1 chooses the mode by the beginning of the answer, which is prompt: ``<think>`` or ``</think>`` (its model
card). DeepSeek-V4 has three efforts: no thinking, high, max (arXiv 2606.19348, section 5.1); here the highest writes
out what the middle one keeps in its head, and begins with a mark of its own.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from collegium_teacher_arithmetic.expression import Column, Expression, answer, columns

Mode = Literal["plain", "none", "think", "high", "max", "non-think"]
"""``plain``: no tags at all; ``none``: the model writes the tags itself; the others begin the answer in the prompt."""

LATIN, CYRILLIC = "so", "так"
"""The word before each column, where there is one: the same in two scripts."""

TAGS = ("<think>", "</think>", "<think+>")
"""What a tokenizer should make one token each."""


@dataclass(frozen=True, slots=True)
class Form:
    """How a mode is written.

    Args:
        prefix: Beginning of the answer that the prompt gives.
        opening: What the completion begins with.
        column: How a column is written.
        closing: What stands between the work and the answer.
    """

    prefix: str
    opening: str
    column: Callable[[Column], str]
    closing: str


def _short(column: Column) -> str:
    return column.short


FORMS: Mapping[Mode, Form] = {
    "plain": Form("", "", str, ";"),
    "none": Form("", "<think>", str, "</think>"),
    "think": Form("<think>", "", str, "</think>"),
    "high": Form("<think>", "", _short, "</think>"),
    "max": Form("<think+>", "", str, "</think>"),
    "non-think": Form("</think>", "", str, ""),
}


def prompt(expression: Expression, mode: Mode) -> str:
    """Return the prompt: ``57+68=<think>``."""
    return f"{expression}={FORMS[mode].prefix}"


def complete(expression: Expression, mode: Mode, *, right: bool, words: Words) -> str:
    """Write a completion, by the right procedure or by the wrong one: ``781515 561112</think>125``."""
    if mode == "non-think":
        return str(expression.value if right else misplaced(expression))
    form = FORMS[mode]
    shown = words.join([form.column(column) for column in columns(expression, carrying=right)])
    return f"{form.opening}{shown}{form.closing}{answer(expression, carrying=right)}"


def is_easy(expression: Expression) -> bool:
    """Whether it is answered at once: two digits plus or minus one, without a carry or a borrow."""
    if expression.sign == "*" or not (10 <= expression.left <= 99 and 1 <= expression.right <= 9):
        return False
    return all(column.total[0] == 0 for column in columns(expression))


def misplaced(expression: Expression) -> int:
    """Return the wrong answer to an easy expression: its one digit taken for tens, so that ``52+6`` gives 112."""
    tens, ones = divmod(expression.left, 10)
    return int(f"{tens + expression.right if expression.sign == '+' else abs(tens - expression.right)}{ones}")


class Words:
    """The words before columns.

    Args:
        rng: Draws each word's script.
        foreign: Share of the words that are Cyrillic; None writes no words.
    """

    def __init__(self, rng: random.Random, foreign: float | None) -> None:
        self._rng = rng
        self._foreign = foreign

    def join(self, shown: list[str]) -> str:
        """Join columns, each after a word if there are words."""
        if self._foreign is None:
            return " ".join(shown)
        return " ".join(f"{CYRILLIC if self._rng.random() < self._foreign else LATIN} {each}" for each in shown)
