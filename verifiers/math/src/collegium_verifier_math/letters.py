"""Answers that are capital letters: a choice, a segment, a word. Their order and case count; a product's would not."""

from __future__ import annotations

import re

_DRESS = re.compile(r"\\(?:text|mbox|mathrm|textrm|textbf|overline|boxed)\s*(?=\{)|[{}$().\s\[\]]")
_GOLD = re.compile(r"[A-Z]{1,8}")
_ANSWER = re.compile(r"[A-Za-z]{1,8}")
LONGEST = 60
"""Characters of a text that may be such an answer."""


def bare_letters(text: str) -> str:
    """Return a text without what letters are dressed in."""
    return _DRESS.sub("", text)


def are_letters(gold: str, answer: str) -> bool:
    """Say whether the reference is capital letters and the answer letters, too."""
    if len(gold) > LONGEST or len(answer) > LONGEST:
        return False
    return _GOLD.fullmatch(bare_letters(gold)) is not None and _ANSWER.fullmatch(bare_letters(answer)) is not None
