"""Plain numbers: whole numbers and decimals, compared exactly and without a computer algebra system."""

from __future__ import annotations

import re
from fractions import Fraction

MOST_DIGITS = 400
"""Digits beyond which a number is left to the symbolic path and its time limit."""

_NUMBER = re.compile(r"([-+\u2212]?)(\d{1,3}(?:,\d{3})+|\d+|(?=\.\d))(?:\.(\d*))?", re.ASCII)
_LAST = re.compile(r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?", re.ASCII)
_OPERATOR = re.compile(r"[-+\u2212]\s*$")
_STEPS = frozenset("\\^/*%_{}()[]<>|√π°×÷$")
_PRICE = re.compile(r"(?<![^\s:])\$(?=\d)")


def plain_number(text: str) -> Fraction | None:
    r"""Return the value of a whole number or decimal (``-3``, ``1,234.50``, ``$18``, ``32,\!000``), else None.

    A comma counts as a thousands separator only between groups of three digits.
    """
    text = text.strip().removesuffix(".")
    if len(text) > 2 and text[0] == text[-1] == "$":
        text = text[1:-1].strip()
    text = text.removeprefix("\\$").removeprefix("$")
    if len(text) > MOST_DIGITS:
        return None
    text = text.replace("{,}", ",").replace("\\!", "")
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    sign, whole, decimals = match.groups()
    digits = whole.replace(",", "") + (decimals or "")
    value = Fraction(int(digits), 10 ** len(decimals or ""))
    return value if sign in ("", "+") else -value


def last_plain_number(text: str) -> str | None:
    """Return the last number of a text's last line, if that line is plain prose in which no formula can hide.

    None means "not sure": the caller then asks the symbolic path.
    """
    line = text.rstrip().rpartition("\n")[2]
    if len(line) > 500:
        return None
    line = line.replace("$", " ") if line.count("$") == 1 else _PRICE.sub("", line)
    if not _STEPS.isdisjoint(line):
        return None
    matches = list(_LAST.finditer(line))
    if not matches:
        return None
    start, end = matches[-1].span()
    before, after = line[:start], line[end:]
    if before[-1:].isalnum() or before[-1:] in (".", ",") or after[:1].isalnum() or after[:1] == ",":
        return None
    sign = before[-1:] in ("-", "\u2212")
    if _OPERATOR.search(before[:-1] if sign else before) or (sign and before[-2:-1].isalnum()):
        return None  # "7 = 5 + 2", "5-3", "pages 2-4": an operator or a range
    return ("-" if sign else "") + matches[-1].group()
