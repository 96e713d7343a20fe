"""Where the expressions come from: GSM8K's worked answers, or random numbers."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from collegium import DataError
from collegium.kinds.data_files import read_json_lines
from collegium_teacher_arithmetic.expression import LARGEST_OPERAND, Expression
from collegium_teacher_arithmetic.modes import is_easy

OWNER = "collegium-teacher-arithmetic"
TRAIN_FILE, HELDOUT_FILE = "gsm8k_train.jsonl.gz", "gsm8k_test.jsonl"
DRAWS = 200
"""Draws per expression wanted, after which there are taken to be no more."""
EASY_HELDOUT = 0.25
"""Share of the easy expressions that is held out."""

_CALCULATION = re.compile(r"<<(\d+)([-+*])(\d+)=(\d+)>>")


@dataclass(frozen=True, slots=True)
class Range:
    """Which expressions are wanted.

    Args:
        signs: Of the operations.
        largest: Largest operand.
    """

    signs: str = "+-"
    largest: int = LARGEST_OPERAND

    def has(self, expression: Expression) -> bool:
        """Say whether an expression is wanted."""
        operand = max(expression.left, expression.right)
        return expression.is_allowed and expression.sign in self.signs and operand <= self.largest


def from_gsm8k(
    folder: Path, wanted: Range = Range(), heldout_share: float = 0.0
) -> tuple[list[Expression], list[Expression]]:
    """Return the distinct expressions of GSM8K's training file, and those of its test file that it does not have.

    An addition that only commutes one of the training file's counts as one of the training file's. A hash of the
    expression holds out `heldout_share` of the training file's as well.
    """
    read = dict.fromkeys(_read(folder / TRAIN_FILE, wanted))
    train = [each for each in read if _fraction(each) >= heldout_share]
    heldout = {each.key: each for each in read if _fraction(each) < heldout_share}
    seen = {each.key for each in read}
    heldout |= {each.key: each for each in _read(folder / HELDOUT_FILE, wanted) if each.key not in seen}
    return train, list(heldout.values())


def generated(
    train: int, heldout: int, seed: int, wanted: Range = Range()
) -> tuple[list[Expression], list[Expression]]:
    """Draw distinct random expressions; a hash of the expression decides which side it may be on.

    Raises:
        DataError: If there are not as many.
    """
    rng = random.Random(f"arithmetic {seed}")
    sides: tuple[dict[str, Expression], dict[str, Expression]] = ({}, {})
    for _ in range(DRAWS * (train + heldout)):
        expression = _draw(rng, wanted)
        on_heldout = _hash(expression.key) % 5 == 0
        if wanted.has(expression) and len(sides[on_heldout]) < (heldout if on_heldout else train):
            sides[on_heldout].setdefault(expression.key, expression)
        if len(sides[0]) == train and len(sides[1]) == heldout:
            return list(sides[0].values()), list(sides[1].values())
    raise DataError(
        f"found {len(sides[0])} training and {len(sides[1])} held-out expressions with the signs {wanted.signs!r} and "
        f"operands up to {wanted.largest}, expected {train} and {heldout}",
        fix="lower 'train' and 'heldout', or allow more digits or operations",
        owner=OWNER,
    )


def easy(wanted: Range) -> tuple[list[Expression], list[Expression]]:
    """Return every expression that is answered at once; a hash of the expression holds a quarter of them out."""
    every = [Expression(left, sign, right) for sign in "+-" for left in range(10, 100) for right in range(1, 10)]
    allowed = [each for each in every if wanted.has(each) and is_easy(each)]
    return [each for each in allowed if _fraction(each) >= EASY_HELDOUT], [
        each for each in allowed if _fraction(each) < EASY_HELDOUT
    ]


def _read(path: Path, wanted: Range) -> Iterator[Expression]:
    """Yield the wanted expressions inside ``<<a+b=c>>`` whose stated result is right."""
    found = 0
    for line, row in read_json_lines(path, owner=OWNER):
        if not isinstance(answer := row.get("answer"), str):
            raise DataError(f"{path}:{line}: expected a text field 'answer', found {sorted(row)}", owner=OWNER)
        for left, sign, right, result in _CALCULATION.findall(answer):
            expression = _factor_last(Expression(int(left), sign, int(right)))
            if wanted.has(expression) and expression.value == int(result):
                found += 1
                yield expression
    if not found:
        shapes = " or ".join(f"<<a{sign}b=c>>" for sign in wanted.signs)
        raise DataError(f"{path}:{line}: read to the end, but no {shapes} found", owner=OWNER)


def _factor_last(expression: Expression) -> Expression:
    """Write a multiplication by one digit with that digit last."""
    if expression.sign == "*" and expression.left <= 9:
        return Expression(expression.right, "*", expression.left)
    return expression


def _draw(rng: random.Random, wanted: Range) -> Expression:
    """Draw operands of one to three digits, two being the commonest by far, as in GSM8K; a factor has one."""
    left, right = (rng.randrange(rng.choice((30, 100, 100, 100, 300))) for _ in range(2))
    sign = rng.choice(wanted.signs)
    if sign == "*":
        return Expression(left, sign, 2 + right % 8)
    return Expression(max(left, right), sign, min(left, right)) if sign == "-" else Expression(left, sign, right)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


def _fraction(expression: Expression) -> float:
    """Return a number in [0, 1) that two expressions share if they differ only by commuting."""
    return _hash(f"held out {expression.key}") / 2**64
