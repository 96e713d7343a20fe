"""Answers and plain numbers found in text, without a worker process."""

from __future__ import annotations

from fractions import Fraction

import pytest

from collegium_verifier_math.extraction import extract
from collegium_verifier_math.plain_number import last_plain_number, plain_number


@pytest.mark.parametrize(
    ("text", "answer", "how"),
    [
        ("so $\\boxed{\\frac{1}{2}}$.", "$\\frac{1}{2}$", "boxed"),
        ("\\boxed{1} no, \\boxed{2}", "$2$", "boxed"),
        ("\\boxed{1} and \\boxed{2}", "$1$ and $2$", "boxed"),
        ("The answer is 5. \\boxed{4}", "$4$", "boxed"),
        ("<think>\\boxed{1}</think>answer: 2", "2", "answer is"),
        ("steps\n#### 1,200", "1,200", "####"),
        ("The final answer is: **42**.", "42", "answer is"),
        ("answer is 1. No: the answer is 2. Good", "2", "answer is"),
        ("The answer is\n\\[ x^2 \\]", "x^2", "answer is"),
    ],
)
def test_the_marked_answer_is_found(text: str, answer: str, how: str) -> None:
    found = extract(text)
    assert found is not None
    assert (found.text, found.how) == (answer, how)


@pytest.mark.parametrize("text", ["", "42", "<think>\\boxed{1}", "\\boxed{1} then \\boxed{2", "answers vary"])
def test_without_a_mark_nothing_is_found(text: str) -> None:
    assert extract(text) is None


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("-3", Fraction(-3)),
        ("1,234.50", Fraction(2469, 2)),
        (".5", Fraction(1, 2)),
        ("$18", Fraction(18)),
        ("$18$", Fraction(18)),
        ("\\$32,\\!348", Fraction(32348)),
        ("10{,}000", Fraction(10000)),
        ("7.", Fraction(7)),
        ("1,22", None),
        ("12,34,567", None),
        ("1/2", None),
        ("50%", None),
        ("1e5", Fraction(100_000)),
        ("٣", None),
        ("", None),
        (".", None),
        ("9" * 500, None),
    ],
)
def test_a_plain_number_is_read_exactly_or_not_at_all(text: str, number: Fraction | None) -> None:
    assert plain_number(text) == number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("A: 2600", "2600"),
        ("it costs $5 and then $7.50.", "7.50"),
        ("100 - 30 = 70", "70"),
        ("x = -4", "-4"),
        ("pages 2-4", None),
        ("7 = 5 + 2", None),
        ("one half is 1/2", None),
        ("$x$ is 5 or $6$", None),
        ("AZYUK2A", None),
        ("none", None),
        ("5\nnone", None),
    ],
)
def test_the_last_number_of_plain_prose_is_taken_and_nothing_else(text: str, number: str | None) -> None:
    assert last_plain_number(text) == number
