"""The judge's answer, read strictly: one JSON object with exactly the keys asked for and this request's token."""

from __future__ import annotations

import json
import math
from typing import Any

from collegium_verifier_judge.failures import Repeatable
from collegium_verifier_judge.question import Question, encodable

WINNERS = ("A", "B", "tie")


def parse_answer(content: object, question: Question, token: str) -> dict[str, Any]:
    """Return ``{"points" | "winner", "reason"}``.

    Raises:
        Repeatable: If the text is anything else than such an object; nothing is guessed from it.
    """
    if not isinstance(content, str):
        raise Repeatable(f"the judge's message has no text but {type(content).__name__}")
    try:
        found = json.loads(content, object_pairs_hook=_no_repeated_keys, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Repeatable(f"the judge's answer is not one JSON object ({error})", said=repr(content)) from None
    key = question.form
    if not isinstance(found, dict) or set(found) != {"token", "reason", key}:
        raise Repeatable(f"the judge's answer must have exactly the keys token, reason, {key}", said=repr(content))
    if found["token"] != token:
        raise Repeatable("the judge's answer does not carry this request's token: it may be copied from what it judges")
    if not isinstance(found["reason"], str):
        raise Repeatable("the judge's reason is not text")
    value = _winner(found[key]) if key == "winner" else _points(found[key], question.scale)
    return {key: value, "reason": encodable(found["reason"])}


def _points(value: object, scale: int) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Repeatable("the judge's points are no number", said=repr(value))
    if not (0 <= value <= scale and math.isfinite(value)):
        raise Repeatable(f"the judge's points are not on the scale from 0 to {scale}", said=repr(value))
    return value


def _winner(value: object) -> str:
    if value not in WINNERS:
        raise Repeatable(f"the judge's winner is none of {', '.join(WINNERS)}", said=repr(value))
    return str(value)


def _no_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
