"""Texts as units and their n-grams."""

from __future__ import annotations

import re
from collections.abc import Sequence

from collegium_data.curate_config import Unit

WORDS = re.compile(r"\w+|[^\w\s]")

Gram = tuple[str, ...]


def units(text: str, unit: Unit) -> list[str]:
    """Return a text's words and punctuation marks, or its characters; in lower case."""
    text = text.lower()
    return WORDS.findall(text) if unit == "word" else list(text)


def grams(found: Sequence[str], n: int) -> list[Gram]:
    """Return the n-grams in order; of fewer than `n` units the whole is one, of none there is none."""
    if not found:
        return []
    size = min(n, len(found))
    return [tuple(found[start : start + size]) for start in range(len(found) - size + 1)]
