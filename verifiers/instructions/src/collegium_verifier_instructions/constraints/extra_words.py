"""Further constraints on words and sentences, in the spirit of IFBench (arXiv 2507.02833); the rules are our own."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from collegium_verifier_instructions.registry import constraint
from collegium_verifier_instructions.text import count_words, sentences, words

_NUMBER = re.compile(r"(?<![\w.,])[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?![\w]|[.,]\d)")
# fmt: off
_STOP_WORDS = frozenset({
    "a", "an", "and", "are", "as", "at", "be", "been", "but", "by", "can", "could", "did", "do", "does", "for",
    "from", "had", "has", "have", "he", "her", "his", "i", "if", "in", "into", "is", "it", "its", "me", "my", "no",
    "not", "of", "on", "or", "our", "she", "should", "so", "than", "that", "the", "their", "them", "then", "there",
    "they", "this", "to", "was", "we", "were", "what", "when", "which", "who", "will", "with", "would", "you",
    "your",
})
# fmt: on


@constraint("extra:word_count_range")
def word_count_range(text: str, min_words: int, max_words: int) -> bool:
    """The number of words lies between two bounds, both included."""
    return min_words <= count_words(text) <= max_words


@constraint("extra:unique_words")
def unique_words(text: str, at_least: int) -> bool:
    """There are at least so many different words, up to case."""
    return len({word.casefold() for word in words(text)}) >= at_least


@constraint("extra:max_word_repeats")
def max_word_repeats(text: str, most: int) -> bool:
    """No word occurs more often than `most`, up to case."""
    counts = Counter(word.casefold() for word in words(text))
    return bool(counts) and max(counts.values()) <= most


@constraint("extra:no_word_twice_in_a_row")
def no_word_twice_in_a_row(text: str) -> bool:
    """No word follows itself, up to case."""
    found = [word.casefold() for word in words(text)]
    return bool(found) and all(first != second for first, second in pairwise(found))


@constraint("extra:palindromes")
def palindromes(text: str, at_least: int, length: int) -> bool:
    """There are at least so many different words of at least `length` letters that read the same backwards."""
    found = {word.casefold() for word in words(text) if len(word) >= length and word.isalpha()}
    return sum(word == word[::-1] for word in found) >= at_least


@constraint("extra:alphabetical_words")
def alphabetical_words(text: str) -> bool:
    """Each word begins with the letter of the alphabet after the word before it; after z comes a."""
    found = [word[0].lower() for word in words(text)]
    if len(found) < 2 or not all("a" <= letter <= "z" for letter in found):
        return False
    return all((ord(second) - ord(first)) % 26 == 1 for first, second in pairwise(found))


@constraint("extra:keyword_position")
def keyword_position(text: str, keyword: str, sentence: int, word: int) -> bool:
    """The keyword is the given word of the given sentence, up to case; both count from 1."""
    found = sentences(text)
    if not 1 <= sentence <= len(found) or word < 1:
        return False
    spoken = words(found[sentence - 1])
    return word <= len(spoken) and spoken[word - 1].casefold() == keyword.casefold()


@constraint("extra:keyword_in_sentence")
def keyword_in_sentence(text: str, keyword: str, sentence: int) -> bool:
    """The keyword is a word of the given sentence, up to case; sentences count from 1."""
    found = sentences(text)
    if not 1 <= sentence <= len(found):
        return False
    return keyword.casefold() in {word.casefold() for word in words(found[sentence - 1])}


@constraint("extra:sentence_length")
def sentence_length(text: str, max_words: int) -> bool:
    """No sentence has more words than `max_words`."""
    found = sentences(text)
    return bool(found) and all(count_words(sentence) <= max_words for sentence in found)


@constraint("extra:sentences_begin_differently")
def sentences_begin_differently(text: str) -> bool:
    """No two sentences begin with the same letter; there are at least two."""
    found = [spoken[0][0].casefold() for sentence in sentences(text) if (spoken := words(sentence))]
    return len(found) >= 2 and len(set(found)) == len(found)


@constraint("extra:numbers")
def numbers(text: str, exactly: int) -> bool:
    """Exactly so many numbers written in digits occur; ``1,234.5`` is one."""
    return sum(1 for _ in _NUMBER.finditer(text)) == exactly


@constraint("extra:stop_word_share")
def stop_word_share(text: str, most_percent: float) -> bool:
    """At most this share of the words, in per cent, are of the commonest English function words."""
    found = words(text)
    return bool(found) and 100 * sum(word.casefold() in _STOP_WORDS for word in found) <= most_percent * len(found)


@constraint("extra:punctuation_variety")
def punctuation_variety(text: str, marks: Sequence[str]) -> bool:
    """Each of the marks occurs."""
    if not marks or not all(isinstance(mark, str) and mark for mark in marks):
        raise ValueError("marks must be a list of texts that are not empty")
    return all(mark in text for mark in marks)
