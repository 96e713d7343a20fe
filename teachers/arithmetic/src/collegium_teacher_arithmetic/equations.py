"""Where the expressions come from: GSM8K's worked answers, or random numbers."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator
from pathlib import Path

from collegium import DataError
from collegium.kinds.data_files import read_json_lines
from collegium_teacher_arithmetic.expression import Expression

OWNER = "collegium-teacher-arithmetic"
TRAIN_FILE, HELDOUT_FILE = "gsm8k_train.jsonl.gz", "gsm8k_test.jsonl"

_CALCULATION = re.compile(r"<<(\d+)([+-])(\d+)=(\d+)>>")


def from_gsm8k(folder: Path) -> tuple[list[Expression], list[Expression]]:
    """Return the distinct expressions of GSM8K's training file, and those of its test file that it does not have.

    An addition that only commutes one of the training file's counts as one of the training file's.
    """
    train = list(dict.fromkeys(_read(folder / TRAIN_FILE)))
    seen = {expression.key for expression in train}
    heldout = {e.key: e for e in _read(folder / HELDOUT_FILE) if e.key not in seen}
    return train, list(heldout.values())


def generated(train: int, heldout: int, seed: int) -> tuple[list[Expression], list[Expression]]:
    """Draw distinct random expressions; a hash of the expression decides which side it may be on."""
    rng = random.Random(f"arithmetic {seed}")
    sides: tuple[dict[str, Expression], dict[str, Expression]] = ({}, {})
    while len(sides[0]) < train or len(sides[1]) < heldout:
        expression = _draw(rng)
        on_heldout = _hash(expression.key) % 5 == 0
        if expression.is_allowed and len(sides[on_heldout]) < (heldout if on_heldout else train):
            sides[on_heldout].setdefault(expression.key, expression)
    return list(sides[0].values()), list(sides[1].values())


def _read(path: Path) -> Iterator[Expression]:
    """Yield the allowed expressions inside ``<<a+b=c>>`` whose stated result is right."""
    found = 0
    for line, row in read_json_lines(path, owner=OWNER):
        if not isinstance(answer := row.get("answer"), str):
            raise DataError(f"{path}:{line}: expected a text field 'answer', found {sorted(row)}", owner=OWNER)
        for left, sign, right, result in _CALCULATION.findall(answer):
            expression = Expression(int(left), sign, int(right))
            if expression.is_allowed and expression.value == int(result):
                found += 1
                yield expression
    if not found:
        raise DataError(f"{path}:{line}: read to the end, but no <<a+b=c>> or <<a-b=c>> found", owner=OWNER)


def _draw(rng: random.Random) -> Expression:
    """Draw operands of one to three digits, two being the commonest by far, as in GSM8K."""
    left, right = (rng.randrange(rng.choice((30, 100, 100, 100, 300))) for _ in range(2))
    sign = rng.choice("+-")
    return Expression(max(left, right), sign, min(left, right)) if sign == "-" else Expression(left, sign, right)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
