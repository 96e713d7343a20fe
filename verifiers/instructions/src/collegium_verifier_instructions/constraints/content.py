"""Detectable content: placeholders, a postscript."""

from __future__ import annotations

import re

from collegium_verifier_instructions.registry import constraint

_POSTSCRIPTS = {"P.S.": r"p\.\s?s\.", "P.P.S": r"p\.\s?p\.\s?s"}


@constraint("detectable_content:number_placeholders")
def number_placeholders(text: str, num_placeholders: int) -> bool:
    """At least so many placeholders in square brackets, each on one line."""
    return sum(_bracketed(line) for line in text.split("\n")) >= num_placeholders


def _bracketed(line: str) -> int:
    count, at = 0, line.find("[")
    while at >= 0:
        end = line.find("]", at)
        if end < 0:
            break
        count, at = count + 1, line.find("[", end)
    return count


@constraint("detectable_content:postscript")
def postscript(text: str, postscript_marker: str) -> bool:
    """A postscript, introduced by its marker up to case and spacing."""
    pattern = _POSTSCRIPTS.get(postscript_marker, re.escape(postscript_marker.lower()))
    return re.search(pattern, text.lower()) is not None
