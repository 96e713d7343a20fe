"""Plain numbers: whole numbers and decimals, compared exactly and without a computer algebra system."""

from __future__ import annotations

import re
from fractions import Fraction
from math import gcd

MOST_DIGITS = 400
"""Digits beyond which a number is left to the symbolic path and its time limit."""

_NUMBER = re.compile(r"([-+\u2212]?)(\d{1,3}(?:,\d{3})+|\d+|(?=\.\d))(?:\.(\d*))?", re.ASCII)
_EXPONENT = re.compile(r"(?<=\d)[eE]([-+]?\d{1,2})$", re.ASCII)
_FRACTION = re.compile(r"([-+\u2212]?)(\d+)/(\d+)", re.ASCII)
_ARITHMETIC = re.compile(r"[\d.,+\-\u2212*/^×·÷=(){}\s]+", re.ASCII)
_OPERATION = re.compile(r"[\d.)}]\s*[-+\u2212*/^×·÷]", re.ASCII)
_ONE_NUMBER = re.compile(
    r"[-+\u2212]?\d(?:\.\d+)?\s*[*×·]\s*10\^\{?[-+\u2212]?\d+\}?|[-+\u2212]?\d+\s+\d+/\d+", re.ASCII
)
_LATEX_OPERATOR = re.compile(r"\\(?:times|cdot|div)(?![A-Za-z])")
_LATEX_SIZE = re.compile(r"\\(?:left|right|[,!;: ])")
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
    text, exponent = _split_exponent(text)
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    sign, whole, decimals = match.groups()
    digits = whole.replace(",", "") + (decimals or "")
    value = Fraction(int(digits), 10 ** len(decimals or "")) * Fraction(10) ** exponent
    return value if sign in ("", "+") else -value


def _split_exponent(text: str) -> tuple[str, int]:
    """Split programmers' scientific notation, ``1.5e3``, into mantissa and exponent; 0 where there is none."""
    found = _EXPONENT.search(text)
    return (text[: found.start()], int(found[1])) if found else (text, 0)


def single_number(text: str) -> Fraction | None:
    """Return the value of one plain number or of one fraction ``a/b`` in lowest terms, else None.

    A fraction that can still be reduced (``10/2``) is a division left to do, not a number.
    """
    number = plain_number(text)
    if number is not None:
        return number
    match = _FRACTION.fullmatch(text.strip().removesuffix(".").strip("$ "))
    if match is None or len(text) > MOST_DIGITS:
        return None
    sign, above, below = match.groups()
    if int(below) < 2 or gcd(int(above), int(below)) > 1:
        return None
    value = Fraction(int(above), int(below))
    return value if sign in ("", "+") else -value


def is_scientific(text: str) -> bool:
    r"""Say whether a text is one number in scientific notation (``1.5 \times 10^3``) or a mixed number (``1 1/2``)."""
    text = _LATEX_SIZE.sub("", _LATEX_OPERATOR.sub("*", text.replace("$", ""))).strip(" .")
    return _ONE_NUMBER.fullmatch(text) is not None


def is_unevaluated(text: str) -> bool:
    r"""Say whether a text is plain numbers joined by operations: ``158+5``, ``158 + 5 = 163``, ``3 \times (2-1)``.

    Scientific notation, ``1.5 \times 10^3``, and a mixed number, ``1 1/2``, are ways to write one number.
    """
    text = _LATEX_SIZE.sub("", _LATEX_OPERATOR.sub("*", text.replace("$", ""))).strip(" .")
    if not _ARITHMETIC.fullmatch(text) or not _OPERATION.search(text):
        return False
    return single_number(text) is None and not _ONE_NUMBER.fullmatch(text)


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
