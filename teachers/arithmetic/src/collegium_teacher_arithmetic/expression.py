"""Additions and subtractions, worked column by column: the right way, and by a procedure that forgets to carry."""

from __future__ import annotations

from dataclasses import dataclass

LARGEST_OPERAND = 999
"""Operands have at most three digits."""

ALPHABET = "0123456789+-=; \n"
"""Every character of the domain's prompts, completions and texts."""


@dataclass(frozen=True, slots=True)
class Expression:
    """``left`` plus or minus ``right``, both whole numbers, with a result that is not negative."""

    left: int
    sign: str
    right: int

    def __str__(self) -> str:
        return f"{self.left}{self.sign}{self.right}"

    @property
    def value(self) -> int:
        """The result."""
        return self.left + self.right if self.sign == "+" else self.left - self.right

    @property
    def key(self) -> str:
        """The same for two expressions that differ only by commuting an addition."""
        if self.sign == "+" and self.left > self.right:
            return f"{self.right}+{self.left}"
        return str(self)

    @property
    def is_allowed(self) -> bool:
        """Whether the operands have at most three digits and the result is not negative."""
        return max(self.left, self.right) <= LARGEST_OPERAND and self.value >= 0

    @property
    def tells_apart(self) -> bool:
        """Whether forgetting to carry (or borrow) gives another answer."""
        return answer_of(work(self, carrying=False)) != str(self.value)


def work(expression: Expression, *, carrying: bool = True) -> str:
    """Write the columns from the right, then ``;`` and the answer: ``57+68`` gives ``781515 561112;125``.

    A column is its two digits, their sum (or difference), and that with the carry (or borrow) taken in; each sum is a
    flag, 1 if it carries on, and a digit. Without `carrying` none is taken in: ``57+68`` gives ``781515 561111;115``.
    """
    columns = _columns(expression, carrying)
    answer = "".join(column[-1] for column in reversed(columns))
    overflow = "1" if expression.sign == "+" and columns[-1][-2] == "1" else ""
    return f"{' '.join(columns)};{int(overflow + answer)}"


def answer_of(completion: str) -> str:
    """Return what stands after the last ``;``."""
    return completion.rpartition(";")[2]


def _columns(expression: Expression, carrying: bool) -> list[str]:
    columns: list[str] = []
    direction = 1 if expression.sign == "+" else -1
    left, right, carry = expression.left, expression.right, False
    while left or right or not columns:
        alone = left % 10 + direction * (right % 10)
        total = alone + direction * (carry and carrying)
        carry = not 0 <= total <= 9
        columns.append(f"{left % 10}{right % 10}{_flagged(alone)}{_flagged(total)}")
        left, right = left // 10, right // 10
    return columns


def _flagged(total: int) -> str:
    """Write a column's sum as a flag, 1 if it leaves the digits, and the digit that stays."""
    return f"{not 0 <= total <= 9:d}{total % 10}"
