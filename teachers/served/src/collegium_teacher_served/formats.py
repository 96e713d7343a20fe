"""The two ways to ask a server for the log-probs of given tokens, and how strictly its replies are read.

``vllm``: ``POST /v1/completions`` with lists of token ids as prompt and ``prompt_logprobs: 0``. Each choice then has
one entry per prompt token: null for the first, else an object from token id to ``{"logprob": ...}`` that holds the
prompt's own token. Minus infinity comes as -9999, for which JSON has no number.

``sglang``: ``POST /generate`` with ``input_ids``, ``return_logprob`` and, per sequence, ``logprob_start_len``. Each
item's ``meta_info.input_token_logprobs`` then has one ``[logprob, token id, text or null]`` per token from there on.
The first log-prob is null, so asking starts one token early; and the last id of the model's vocabulary is echoed as 0
(SGLang's `_process_input_token_logprobs`). One token is generated, for a request for none may be taken for multi-item
scoring, which replies otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from collegium_teacher_served.failures import Failure
from collegium_teacher_served.sequences import TokenSequence

VLLMS_MINUS_INFINITY = -9999.0
"""vLLM's servers send it in place of minus infinity, and no model gives a token so little otherwise."""
ROUNDING = 1e-4
"""How far above 0 a log-prob may be, in nats; the core's limit, too."""
MOST_READ = 10_000
"""Characters of a faulty value that are looked at."""


class Format(Protocol):
    """How log-probs are asked for."""

    @property
    def path(self) -> str:
        """Where to ask, below the server's root."""
        raise NotImplementedError

    def body(self, sequences: Sequence[TokenSequence]) -> dict[str, Any]:
        """Return the request for some sequences."""
        raise NotImplementedError

    def read(self, reply: Any, sequences: Sequence[TokenSequence]) -> list[list[float]]:
        """Return each sequence's log-probs from its `start` on.

        Raises:
            Failure: If the reply is not exactly what was asked for.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Vllm:
    """vLLM's completions with prompt log-probs."""

    model: str
    path: str = "/v1/completions"

    def body(self, sequences: Sequence[TokenSequence]) -> dict[str, Any]:
        """Return the request for some sequences."""
        return {
            "model": self.model,
            "prompt": [list(sequence.tokens) for sequence in sequences],
            "max_tokens": 1,
            "temperature": 1.0,
            "prompt_logprobs": 0,
        }

    def read(self, reply: Any, sequences: Sequence[TokenSequence]) -> list[list[float]]:
        """Return each sequence's log-probs; choices are put in order by their index."""
        choices = reply.get("choices") if isinstance(reply, Mapping) else None
        items = _items(choices, "choices", len(sequences))
        indices = [item.get("index") for item in items]
        if sorted(index for index in indices if isinstance(index, int)) != list(range(len(sequences))):
            raise _malformed(f"choices whose indices are not 0 to {len(sequences) - 1}", indices)
        return [
            self._one(items[indices.index(number)].get("prompt_logprobs"), sequence)
            for number, sequence in enumerate(sequences)
        ]

    @staticmethod
    def _one(entries: Any, sequence: TokenSequence) -> list[float]:
        entries = _entries(entries, "prompt_logprobs", len(sequence.tokens))
        found = []
        for position, token in enumerate(sequence.tokens[1:], start=1):
            entry = entries[position]
            if not isinstance(entry, Mapping):
                raise _malformed(f"no log-prob at position {position}", entry)
            if str(token) not in entry:
                raise _malformed(f"another token than {token}, which was sent, at position {position}", list(entry))
            inner = entry[str(token)]
            value = inner.get("logprob") if isinstance(inner, Mapping) else None
            if position >= sequence.start:
                number = _logprob(value, position)
                found.append(number if number > VLLMS_MINUS_INFINITY else -math.inf)
        return found


@dataclass(frozen=True)
class Sglang:
    """SGLang's own scoring. `largest_id`: the tokenizer's; an id from there on may be the one that is echoed as 0."""

    largest_id: int
    path: str = "/generate"

    def body(self, sequences: Sequence[TokenSequence]) -> dict[str, Any]:
        """Return the request for some sequences."""
        return {
            "input_ids": [list(sequence.tokens) for sequence in sequences],
            "sampling_params": {"max_new_tokens": 1, "temperature": 1.0, "top_p": 1.0},
            "return_logprob": True,
            "logprob_start_len": [sequence.start - 1 for sequence in sequences],
            "return_text_in_logprobs": False,
            "stream": False,
        }

    def read(self, reply: Any, sequences: Sequence[TokenSequence]) -> list[list[float]]:
        """Return each sequence's log-probs."""
        items = _items(reply, "items", len(sequences))
        return [self._one(item.get("meta_info"), sequence) for item, sequence in zip(items, sequences, strict=True)]

    def _one(self, meta: Any, sequence: TokenSequence) -> list[float]:
        if not isinstance(meta, Mapping):
            raise _malformed("no meta_info", meta)
        ending = meta.get("finish_reason")
        if isinstance(ending, Mapping) and ending.get("type") == "abort":
            raise _malformed("an aborted sequence", ending.get("message"))
        first = sequence.start - 1
        entries = _entries(meta.get("input_token_logprobs"), "input_token_logprobs", len(sequence.tokens) - first)
        found = []
        for position, (token, entry) in enumerate(zip(sequence.tokens[first:], entries, strict=True), start=first):
            if not isinstance(entry, Sequence) or len(entry) < 2:
                raise _malformed(f"no log-prob at position {position}", entry)
            if entry[1] != token and not (entry[1] == 0 and token >= self.largest_id):
                raise _malformed(f"another token than {token}, which was sent, at position {position}", entry[1])
            if position > first:
                found.append(_logprob(entry[0], position))
        return found


def format_of(name: Literal["vllm", "sglang"], model: str, largest_id: int) -> Format:
    """Return a format by its name in the options."""
    return Vllm(model) if name == "vllm" else Sglang(largest_id)


def _items(items: Any, what: str, expected: int) -> list[Mapping[str, Any]]:
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        raise _malformed(f"no list of {what}", items)
    if len(items) != expected:
        raise _malformed(f"{len(items)} {what} for {expected} sequences")
    return items


def _entries(entries: Any, what: str, expected: int) -> list[Any]:
    """Return the list of one entry per token, whose first one has no log-prob."""
    if not isinstance(entries, list):
        raise _malformed(f"no list of {what}", entries)
    if len(entries) != expected:
        raise _malformed(f"{len(entries)} {what} for {expected} tokens")
    first = entries[0][0] if isinstance(entries[0], list) and entries[0] else entries[0]
    if first is not None:
        raise _malformed(f"a first entry of {what} that is not null (the list may be shifted)", first)
    return entries


def _logprob(value: Any, position: int) -> float:
    """Return a log-prob; minus infinity is a probability of 0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _malformed(f"no number as the log-prob at position {position}", value)
    try:
        number = float(value)
    except OverflowError:
        number = math.nan
    if math.isnan(number) or number > ROUNDING:
        raise _malformed(f"a log-prob at position {position} that is positive or not a number", value)
    return number


def _malformed(found: str, *values: Any) -> Failure:
    """Return the failure for a reply that is not what was asked for, with the value found there."""
    return Failure(
        f"its reply has {found}",
        said=" ".join("found null" if value is None else f"found {value!r}"[:MOST_READ] for value in values),
        fix="see that format fits the server, and that the server returns prompt log-probs of the tokens it is sent",
    )
