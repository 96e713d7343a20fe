"""Whole-number expressions, worked column by column: the right way, and by a procedure that forgets to carry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

LARGEST_OPERAND = 999
"""Operands have at most three digits."""

ALPHABET = "0123456789+-=; \n"
"""Every character of the domain's prompts, completions and texts, as long as its options are the default ones."""

CALCULATE: Mapping[str, Callable[[int, int], int]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
}
"""What each sign does."""


@dataclass(frozen=True, slots=True)
class Expression:
    """``left`` plus, minus or times ``right``, whole numbers, with a result that is not negative."""

    left: int
    sign: str
    right: int

    def __str__(self) -> str:
        return f"{self.left}{self.sign}{self.right}"

    @property
    def value(self) -> int:
        """The result."""
        return CALCULATE[self.sign](self.left, self.right)

    @property
    def key(self) -> str:
        """The same for two expressions that differ only by commuting an addition or a multiplication."""
        if self.sign != "-" and self.left > self.right:
            return f"{self.right}{self.sign}{self.left}"
        return str(self)

    @property
    def is_allowed(self) -> bool:
        """Whether the operands have at most three digits (the right factor one) and the result is not negative."""
        short = self.sign != "*" or self.right <= 9
        return short and max(self.left, self.right) <= LARGEST_OPERAND and self.value >= 0

    @property
    def tells_apart(self) -> bool:
        """Whether forgetting to carry (or borrow) gives another answer."""
        return answer(self, carrying=False) != self.value


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a calculation.

    Args:
        left: Its digit of the left operand.
        right: Its digit of the right operand; of a multiplication the one factor.
        alone: The two, added (subtracted, multiplied), as what is carried on and the digit that stays.
        total: The same with what was carried here taken in.
    """

    left: int
    right: int
    alone: tuple[int, int]
    total: tuple[int, int]

    def __str__(self) -> str:
        return "{}{}{}{}{}{}".format(self.left, self.right, *self.alone, *self.total)

    @property
    def short(self) -> str:
        """What is carried on, and the digit that stays."""
        return "{}{}".format(*self.total)


def columns(expression: Expression, *, carrying: bool = True) -> list[Column]:
    """Work an expression out from the right; without `carrying` nothing carried is taken in."""
    worked: list[Column] = []
    left, right, carry = expression.left, expression.right, 0
    while left or (right and expression.sign != "*") or not worked:
        digits = left % 10, right % 10
        alone = CALCULATE[expression.sign](*digits)
        total = alone + (-carry if expression.sign == "-" else carry) * carrying
        worked.append(Column(*digits, _split(alone), _split(total)))
        carry = worked[-1].total[0]
        left, right = left // 10, right if expression.sign == "*" else right // 10
    return worked


def answer(expression: Expression, *, carrying: bool = True) -> int:
    """Read the answer off the columns: the digits that stay, and what the last column carries on."""
    worked = columns(expression, carrying=carrying)
    stays = "".join(str(column.total[1]) for column in reversed(worked))
    return int(stays if expression.sign == "-" else f"{worked[-1].total[0]}{stays}")


def work(expression: Expression, *, carrying: bool = True) -> str:
    """Write the columns from the right, then ``;`` and the answer: ``57+68`` gives ``781515 561112;125``.

    A column is its two digits, their sum (or difference, or product), and that with the carry (or borrow) taken in;
    each sum is what it carries on, and a digit. Without `carrying` none is taken in: ``57+68`` gives
    ``781515 561111;115``.
    """
    shown = " ".join(map(str, columns(expression, carrying=carrying)))
    return f"{shown};{answer(expression, carrying=carrying)}"


def answer_of(completion: str) -> str:
    """Return what stands after the last ``;``."""
    return completion.rpartition(";")[2]


def _split(total: int) -> tuple[int, int]:
    """Return what a column carries (or borrows), and the digit that stays."""
    return abs(total // 10), total % 10
