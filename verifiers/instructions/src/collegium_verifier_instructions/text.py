"""Words, sentences and comparisons, as the constraints count them. All linear in the text's length."""

from __future__ import annotations

import re
from typing import Literal

Relation = Literal["at least", "less than"]

_WORD = re.compile(r"\w+")
_STOP = re.compile(r"[.?!]+")
_CLOSING = "\"'”’)]}*_"
# fmt: off
_ABBREVIATIONS = frozenset({
    "mr", "mrs", "ms", "dr", "prof", "sr", "jr", "st", "vs", "etc", "inc", "ltd", "co", "corp", "no", "vol", "fig",
    "gen", "col", "capt", "lt", "sgt", "rev", "hon", "gov", "sen", "rep", "dept", "est", "approx", "jan", "feb",
    "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec", "e.g", "i.e", "u.s", "u.k", "a.m", "p.m",
    "u.n", "d.c", "ph.d",
})
# fmt: on
_SPLIT_OFF = re.compile(
    r"([;@#$%&?!,:()\[\]{}<>\"“”`|]|--+|\.\.\.+|(?<=\w)['’](?:s|m|d|ll|re|ve)\b|n['’]t\b)", re.IGNORECASE
)


def compare(count: int, relation: Relation, threshold: int) -> bool:
    """Say whether a count is ``at least`` or ``less than`` a threshold.

    Raises:
        ValueError: If the relation is another.
    """
    if relation == "at least":
        return count >= threshold
    if relation == "less than":
        return count < threshold
    raise ValueError(f"relation must be 'at least' or 'less than', found {relation!r}")


def count_words(text: str) -> int:
    """Count runs of letters, digits and underscores."""
    return sum(1 for _ in _WORD.finditer(text))


def tokens(text: str) -> list[str]:
    """Split into words and punctuation as treebank tokenizers do: hyphens stay, clitics and a final stop come off."""
    found: list[str] = []
    for chunk in _SPLIT_OFF.sub(r" \1 ", text).split():
        stop = len(chunk) > 1 and chunk.endswith(".") and not _is_abbreviation(chunk[:-1])
        found += [chunk[:-1], "."] if stop else [chunk]
    return found


def count_sentences(text: str) -> int:
    """Count sentences: a stop that white space follows ends one, unless it is an abbreviation's.

    An ellipsis before a lower-case word ends none, nor does a line break. Stands in for a trained splitter.
    """
    text = text.strip()
    return (
        sum(_ends_sentence(text, match) for match in _STOP.finditer(text)) + (0 if _is_closed(text) else 1)
        if text
        else 0
    )


def sentences(text: str) -> list[str]:
    """Split into sentences, by the rule of `count_sentences`; a line break ends one, too."""
    found = []
    for line in text.split("\n"):
        start = 0
        for stop in _STOP.finditer(line):
            if _ends_sentence(line, stop):
                found.append(line[start : stop.end()].strip())
                start = stop.end()
        found.append(line[start:].strip())
    return [sentence for sentence in found if any(character.isalnum() for character in sentence)]


def words(text: str) -> list[str]:
    """Return the runs of letters, digits and underscores."""
    return _WORD.findall(text)


def _is_closed(text: str) -> bool:
    return text.rstrip(_CLOSING)[-1:] in (".", "?", "!")


def _ends_sentence(text: str, stop: re.Match[str]) -> bool:
    end = stop.end()
    while end < len(text) and text[end] in _CLOSING:
        end += 1
    if end == len(text):
        return True
    if not text[end].isspace():
        return False
    if set(stop.group()) - {"."}:
        return True
    if stop.group() == "." and not _is_abbreviation(_word_before(text, stop.start())):
        return True
    return stop.group() != "." and not _next_word_start(text, end).islower()


def _next_word_start(text: str, at: int) -> str:
    """Return the next word's first character; empty if none follows soon (a bound keeps the count linear)."""
    return next((character for character in text[at : at + 50] if character.isalnum()), "")


def _word_before(text: str, at: int) -> str:
    start = at
    while start > 0 and at - start < 20 and (text[start - 1].isalnum() or text[start - 1] == "."):
        start -= 1
    return text[start:at]


def _is_abbreviation(word: str) -> bool:
    return word.casefold() in _ABBREVIATIONS or (len(word) == 1 and word.isalpha() and word != "I")
