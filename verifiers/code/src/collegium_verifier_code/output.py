"""Compare what a program wrote with what it should have written."""

from __future__ import annotations

import math
import re
from typing import Any

NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?", re.ASCII)
LONGEST_NUMBER = 400
"""Characters; what is longer is compared as text, so that reading it costs nothing."""


def program_failure(report: dict[str, Any], expected: str, tolerance: float) -> str:
    """Say why a run of a program fails; nothing if it passes."""
    if report["cause"]:
        return str(report["cause"])
    if report["status"] != 0:
        return f"exit status {report['status']}: {report['stderr'].strip()[-200:]}"
    return "" if same_output(report["stdout"], expected, tolerance) else "wrong output"


def same_output(found: str, expected: str, tolerance: float) -> bool:
    """Compare line by line; white space at the end of a line and of the whole counts for nothing.

    Args:
        tolerance: If above 0, lines are the same if their words are, numbers within the tolerance.
    """
    ours, theirs = _lines(found), _lines(expected)
    if len(ours) != len(theirs):
        return False
    return all(a == b or (tolerance > 0 and _same_words(a, b, tolerance)) for a, b in zip(ours, theirs, strict=True))


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().split("\n")]


def _same_words(found: str, expected: str, tolerance: float) -> bool:
    ours, theirs = found.split(), expected.split()
    return len(ours) == len(theirs) and all(_close(a, b, tolerance) for a, b in zip(ours, theirs, strict=True))


def _close(found: str, expected: str, tolerance: float) -> bool:
    if found == expected:
        return True
    if max(len(found), len(expected)) > LONGEST_NUMBER or not (NUMBER.fullmatch(found) and NUMBER.fullmatch(expected)):
        return False
    a, b = float(found), float(expected)
    return math.isfinite(a) and math.isfinite(b) and abs(a - b) <= tolerance * max(1.0, abs(b))
