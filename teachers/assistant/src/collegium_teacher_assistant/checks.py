"""What can be checked of an answer without a reference: its form and its tone, as IFEval constraints."""

from __future__ import annotations

import re
from typing import Any

from collegium_teacher_assistant.exchanges import Exchange

RUDE_WORDS = (
    "obviously", "duh", "freaking", "stupid", "okay", "yourself", "anyway", "straight", "damn", "basically",
    "ridiculously", "look", "get", "already", "finally",
)  # fmt: skip
"""Words that mark the impolite answers of the real pairs: each stands in at least eight of them and in no polite one
that the instruction does not call for, by a count over the whole file."""

_WORD = re.compile(r"[A-Za-z]{4,}")


def keyword_of(exchange: Exchange) -> str | None:
    """Return the longest word of the instruction that both answers repeat, the last of several; None without any."""
    shared = [
        word
        for word in _WORD.findall(exchange.prompt)
        if all(re.search(rf"\b{word}\b", text) for text in (exchange.chosen, exchange.rejected))
    ]
    return max(reversed(shared), key=len) if shared else None


def instructions(exchange: Exchange, most_words: int) -> dict[str, Any]:
    """Return the task data that an IFEval verifier reads.

    A rude word that the instruction itself has is allowed.
    """
    asked = set(re.findall(r"[a-z]+", exchange.prompt.lower()))
    forbidden = [word for word in RUDE_WORDS if word not in asked]
    checks: list[tuple[str, dict[str, Any]]] = [
        ("startend:end_checker", {"end_phrase": "."}),
        ("length_constraints:number_words", {"relation": "at least", "num_words": 2}),
        ("length_constraints:number_words", {"relation": "less than", "num_words": most_words + 1}),
        ("keywords:forbidden_words", {"forbidden_words": forbidden}),
    ]
    if keyword := keyword_of(exchange):
        checks.append(("keywords:existence", {"keywords": [keyword]}))
    return {"instruction_id_list": [name for name, _ in checks], "kwargs": [kwargs for _, kwargs in checks]}
