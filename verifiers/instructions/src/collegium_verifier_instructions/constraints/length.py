"""Length: words, sentences, paragraphs."""

from __future__ import annotations

import re

from collegium_verifier_instructions.registry import constraint
from collegium_verifier_instructions.text import Relation, compare, count_sentences, count_words

_DIVIDER = re.compile(r"\s?\*\*\*\s?")
_WORD_END = re.compile(r"[.,?!'\"]")


@constraint("length_constraints:number_words")
def number_words(text: str, num_words: int, relation: Relation) -> bool:
    """The number of words stands in the relation to `num_words`."""
    return compare(count_words(text), relation, num_words)


@constraint("length_constraints:number_sentences")
def number_sentences(text: str, num_sentences: int, relation: Relation) -> bool:
    """The number of sentences stands in the relation to `num_sentences`."""
    return compare(count_sentences(text), relation, num_sentences)


@constraint("length_constraints:number_paragraphs")
def number_paragraphs(text: str, num_paragraphs: int) -> bool:
    """Exactly so many paragraphs, divided by ``***``; a blank one may stand only at either end, and is not counted."""
    paragraphs = [bool(part.strip()) for part in _DIVIDER.split(text)]
    return all(paragraphs[1:-1]) and sum(paragraphs) == num_paragraphs


@constraint("length_constraints:nth_paragraph_first_word")
def nth_paragraph_first_word(text: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    """Exactly so many paragraphs, divided by two line breaks, the n-th (from 1) beginning with the word, up to case."""
    paragraphs = text.split("\n\n")
    filled = sum(bool(part.strip()) for part in paragraphs)
    if filled != num_paragraphs or not 1 <= nth_paragraph <= filled:
        return False
    words = paragraphs[nth_paragraph - 1].split()
    if not words:
        return False
    bare = words[0].lstrip("'").lstrip('"')
    return _WORD_END.split(bare, maxsplit=1)[0].lower() == first_word.lower()
