"""The `repetition` verifier: n-grams that come back, an end that goes in circles, and passages that compress away."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from collegium import Completion, Config, Score, Task, Verdict, Verifier
from collegium_verifier_format.layout import LONGEST_TEXT, has_text

TAIL = 4_000
"""Characters at the end in which a loop is looked for."""
WINDOW = 600
"""Characters of a passage that is compressed by itself; two neighbours share half of them."""
SHORTEST_COMPRESSED = 400
"""Characters of the shortest text that is compressed."""
UNSPACED = 15
"""Characters per word from which a text is taken to have no spaces: its n-grams are of characters."""
SYMBOLS_FACTOR = 4
"""A loop without a letter (a rule of dashes, a number's zeros) must be this many times as long."""


class RepetitionConfig(Config):
    """Options of the `repetition` verifier."""

    ngram: int = Field(default=6, ge=1, le=100)
    """Words of an n-gram; where there are no spaces, half as many as its characters."""
    max_share: float = Field(default=0.3, ge=0, le=1)
    """Share of the n-grams that may have stood before."""
    loop_repeats: int = Field(default=4, ge=2)
    """Times in a row that one piece of text at the very end makes a loop."""
    loop_characters: int = Field(default=60, ge=1, le=TAIL)
    """Characters that a loop must cover to count; one without a letter four times as many."""
    min_compressed: float = Field(default=0.18, ge=0, le=1)
    """Share of its bytes that every passage of 600 characters must keep under zlib; 0 switches it off."""
    score: Literal["all", "share"] = "all"
    """``all`` scores 1 or 0; ``share`` scores the share of new n-grams, and 0 for a loop."""


class RepetitionVerifier(Verifier):
    """Judge whether a completion repeats itself; `details` has the share of repeated n-grams and the loop, if any."""

    Config = RepetitionConfig
    form_only = True

    def verify(self, completion: Completion, task: Task) -> Verdict:
        """Judge one completion; an empty one scores 0."""
        text = completion.text
        if len(text) > LONGEST_TEXT:
            return Score(0.0, {"why": f"the completion has more than {LONGEST_TEXT} characters"})
        if not has_text(text):
            return Score(0.0, {"why": "there is no text"})
        share = repeated_share(*_units(text, self.config.ngram))
        loop = loop_at_end(text.rstrip(), self.config.loop_repeats, self.config.loop_characters)
        compressed = least_compressed(text)
        details = {
            "repeated": round(share, 4), "loop": loop[:80] if loop else None, "compressed": round(compressed, 4)
        }  # fmt: skip
        if loop or compressed < self.config.min_compressed:
            return Score(0.0, details)
        return Score(1.0 - share if self.config.score == "share" else float(share <= self.config.max_share), details)


def _units(text: str, size: int) -> tuple[Sequence[str], int]:
    """Return words and the n-gram's size; characters and twice the size where there are no spaces."""
    words = text.split()
    return (text, 2 * size) if len(text) > UNSPACED * len(words) else (words, size)


def least_compressed(text: str) -> float:
    """Return the smallest share of its bytes that a passage keeps under zlib; 1 for a short text.

    A loop anywhere compresses away, also one with a counter in it. The default threshold lies below every real
    response, story, speech and play that was looked at (0.24 and more) and every grade-school solution that ends.
    """
    if len(text) < SHORTEST_COMPRESSED:
        return 1.0
    last = max(0, len(text) - WINDOW)
    passages = (text[start : start + WINDOW].encode("utf-8", "surrogatepass")
                for start in (*range(0, last, WINDOW // 2), last))  # fmt: skip
    return min(len(zlib.compress(passage, 9)) / len(passage) for passage in passages)


def repeated_share(words: Sequence[str], size: int) -> float:
    """Return the share of n-grams that stood before; 0 where there are none."""
    count = len(words) - size + 1
    if count < 1:
        return 0.0
    return 1.0 - len({tuple(words[start : start + size]) for start in range(count)}) / count


def loop_at_end(text: str, repeats: int, characters: int) -> str | None:
    """Return the piece that the text ends in `repeats` times or more, over at least so many characters, or None.

    A piece without a letter must cover four times as many.

    Linear: the border table of Knuth, Morris and Pratt over the reversed tail gives the shortest period of each of its
    beginnings.
    """
    tail = text[-TAIL:][::-1]
    borders = [0] * (len(tail) + 1)
    border = 0
    for position in range(1, len(tail)):
        while border and tail[position] != tail[border]:
            border = borders[border]
        border += tail[position] == tail[border]
        borders[position + 1] = border
        length = position + 1
        period = length - border
        if length >= characters and length >= repeats * period:
            piece = tail[:period][::-1]
            if length >= SYMBOLS_FACTOR * characters or any(map(str.isalpha, piece)):
                return piece
    return None
