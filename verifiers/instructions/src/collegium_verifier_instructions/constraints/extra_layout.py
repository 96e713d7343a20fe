"""Further constraints on layout and formats, in the spirit of IFBench (arXiv 2507.02833); the rules are our own."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Sequence
from itertools import pairwise

from collegium_verifier_instructions.registry import constraint

_PAIRS = {")": "(", "]": "[", "}": "{"}
# fmt: off
_LOWER_IN_TITLES = frozenset({
    "a", "an", "and", "as", "at", "but", "by", "for", "from", "in", "nor", "of", "on", "or", "the", "to", "with",
})
# fmt: on
_WORD = re.compile(r"[^\W\d_][\w'’]*")
_BULLET = re.compile(r"([ \t]*)[-*•][ \t]+\S")


@constraint("extra:line_indent")
def line_indent(text: str, step: int) -> bool:
    """Every line with text in it is indented by `step` spaces more than the one before; there are at least two."""
    lines = [line for line in text.split("\n") if line.strip()]
    indents = [len(line) - len(line.lstrip(" ")) for line in lines]
    return len(lines) >= 2 and all(second - first == step for first, second in pairwise(indents))


@constraint("extra:nested_brackets")
def nested_brackets(text: str, depth: int) -> bool:
    """Round, square and curly brackets are balanced, and nested at least `depth` deep somewhere."""
    opened: list[str] = []
    deepest = 0
    for character in text:
        if character in "([{":
            opened.append(character)
            deepest = max(deepest, len(opened))
        elif character in _PAIRS and (not opened or opened.pop() != _PAIRS[character]):
            return False
    return not opened and deepest >= depth


@constraint("extra:title_case")
def title_case(text: str) -> bool:
    """Every word begins with a capital, but for short function words that are not a line's first."""
    found = [(word, first) for line in text.split("\n") for first, word in _marked(_WORD.findall(line))]
    return bool(found) and all(_is_titled(word, first) for word, first in found)


def _marked(found: Sequence[str]) -> list[tuple[bool, str]]:
    return [(position == 0, word) for position, word in enumerate(found)]


def _is_titled(word: str, first: bool) -> bool:
    if not first and word in _LOWER_IN_TITLES:
        return True
    return not word[0].islower()


@constraint("extra:no_white_space")
def no_white_space(text: str) -> bool:
    """There is no white space but around the whole text."""
    return not any(character.isspace() for character in text.strip())


@constraint("extra:csv")
def csv_table(text: str, columns: int, rows: int, delimiter: str = ",") -> bool:
    """The whole text is a table of so many rows (the head included) and columns, quoted as in RFC 4180."""
    if len(delimiter) != 1:
        raise ValueError(f"delimiter must be one character, found {delimiter!r}")
    try:
        table = [row for row in csv.reader(io.StringIO(text.strip()), delimiter=delimiter, strict=True) if row]
    except csv.Error:
        return False
    return len(table) == rows and all(len(row) == columns for row in table)


@constraint("extra:headings_in_order")
def headings_in_order(text: str, headings: Sequence[str]) -> bool:
    """Each heading begins a line, once, in the given order, with text below or after it."""
    lines = [line.lstrip("#*_ \t") for line in text.split("\n")]
    found = [[at for at, line in enumerate(lines) if line.startswith(heading)] for heading in headings]
    if not headings or any(len(each) != 1 for each in found):
        return False
    starts = [each[0] for each in found]
    ends = [*starts[1:], len(lines)]
    bodies = (
        lines[start][len(heading) :] + "".join(lines[start + 1 : end])
        for heading, start, end in zip(headings, starts, ends, strict=True)
    )
    return starts == sorted(starts) and all(any(c.isalnum() for c in body) for body in bodies)


@constraint("extra:sub_bullets")
def sub_bullets(text: str, at_least: int) -> bool:
    """There is a bullet list in which every top bullet has at least so many bullets below it, indented."""
    indents = [len(match[1].expandtabs(4)) for line in text.split("\n") if (match := _BULLET.match(line))]
    if not indents:
        return False
    top, below = min(indents), list[int]()
    for indent in indents:
        if indent == top:
            below.append(0)
        elif below:
            below[-1] += 1
    return bool(below) and min(below) >= at_least and indents[0] == top


@constraint("extra:emojis")
def emojis(text: str, at_least: int) -> bool:
    """At least so many pictographs occur."""
    return sum(unicodedata.category(c) == "So" and ord(c) >= 0x2190 for c in text) >= at_least
