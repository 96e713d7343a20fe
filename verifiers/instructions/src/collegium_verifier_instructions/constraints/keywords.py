"""Keywords: present, absent, counted."""

from __future__ import annotations

import re
from collections.abc import Sequence

from collegium_verifier_instructions.registry import constraint
from collegium_verifier_instructions.text import Relation, compare


@constraint("keywords:existence")
def existence(text: str, keywords: Sequence[str]) -> bool:
    """Every keyword occurs, also inside a word, up to case."""
    return all(re.search(re.escape(keyword), text, re.IGNORECASE) for keyword in keywords)


@constraint("keywords:forbidden_words")
def forbidden_words(text: str, forbidden_words: Sequence[str]) -> bool:
    """No forbidden word occurs as a word, up to case."""
    return not any(re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE) for word in forbidden_words)


@constraint("keywords:frequency")
def frequency(text: str, keyword: str, frequency: int, relation: Relation) -> bool:
    """The keyword's occurrences, also inside words, stand in the relation to `frequency`."""
    return compare(len(re.findall(re.escape(keyword), text, re.IGNORECASE)), relation, frequency)


@constraint("keywords:letter_frequency")
def letter_frequency(text: str, letter: str, let_frequency: int, let_relation: Relation) -> bool:
    """The occurrences of one character, up to case, stand in the relation to `let_frequency`."""
    return compare(text.lower().count(letter.lower()), let_relation, let_frequency)
