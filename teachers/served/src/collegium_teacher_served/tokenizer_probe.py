"""Texts made of a tokenizer's whole vocabulary, and how another tokenizer reads them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from transformers import PreTrainedTokenizerBase

TOKENS_PER_TEXT = 512
"""Vocabulary entries of one text: few enough for a readable difference, enough for few requests."""
UNDECODABLE = "\ufffd"
"""What stands for bytes that are no text; such a token cannot be sent as text."""
BESIDE = 20
"""Characters shown before and after a difference."""


@dataclass(frozen=True)
class TokenizedText:
    """A text and its ids by the local tokenizer, without the special tokens that it would put around."""

    text: str
    token_ids: list[int]


def probe_texts(tokenizer: PreTrainedTokenizerBase) -> Iterator[TokenizedText]:
    """Yield texts that together spell every token of the vocabulary that can be written as text."""
    ids = sorted(set(tokenizer.get_vocab().values()))
    for start in range(0, len(ids), TOKENS_PER_TEXT):
        decoded = [str(tokenizer.decode([index])) for index in ids[start : start + TOKENS_PER_TEXT]]
        pieces = [piece for piece in decoded if piece and UNDECODABLE not in piece]
        encoded = _encode(tokenizer, "".join(pieces))
        if encoded is None:  # a tokenizer without an unknown token refuses text outside its alphabet
            pieces = [piece for piece in pieces if _encode(tokenizer, piece) is not None]
            encoded = _encode(tokenizer, "".join(pieces))
        if encoded:
            yield TokenizedText("".join(pieces), encoded)


def _encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int] | None:
    try:
        return list(tokenizer.encode(text, add_special_tokens=False))
    except Exception:  # the tokenizers library raises bare exceptions
        return None


def difference(tokenizer: PreTrainedTokenizerBase, probe: TokenizedText, other: Sequence[Any]) -> str | None:
    """Say where another tokenizer reads a text otherwise first, or return None if it does not."""
    pairs = zip_longest(probe.token_ids, other)
    position = next((place for place, (mine, theirs) in enumerate(pairs) if mine != theirs), None)
    if position is None:
        return None
    before = len(str(tokenizer.decode(probe.token_ids[:position])))
    around = probe.text[max(0, before - BESIDE) : before + BESIDE]
    here, there = probe.token_ids[position : position + 3], list(other[position : position + 3])
    token = str(tokenizer.decode(here[:1])) if here else ""
    return f"token {position} of the text ...{around!r}... is {token!r} with the ids {here} here and {there} there"
