"""Match calls with the calls that are allowed, by the conventions of the Berkeley function-calling data."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

from collegium_verifier_tools.parsing import Call

Functions = Mapping[str, Mapping[str, Any]]
"""Function name to its schema of parameters."""
Gold = Mapping[str, Mapping[str, Sequence[Any]]]
"""One expected call: ``{function: {argument: [allowed, ...]}}``; ``""`` among the allowed: may be left out."""

_DROPPED = re.compile(r"[ ,./\-_*^]")


def mismatch(call: Call, gold: Gold, functions: Functions) -> str | None:
    """Return the first reason why `call` is not `gold`, or None if it is."""
    ((name, allowed),) = gold.items()
    if call.name != name:
        return f"expected a call of {name}, got {reprlib.repr(call.name)}"
    schema = functions[name]
    for argument in schema.get("required", ()):
        if argument not in call.arguments:
            return f"{name}: required argument {argument} is missing"
    for argument, value in call.arguments.items():
        if argument not in allowed:
            return f"{name}: unexpected argument {reprlib.repr(argument)}"
        if not _allowed(value, allowed[argument], schema["properties"][argument]):
            return f"{name}: {argument} is {reprlib.repr(value)}, which is not allowed"
    left_out = [key for key, options in allowed.items() if key not in call.arguments and "" not in options]
    return f"{name}: argument {left_out[0]} is missing" if left_out else None


def _allowed(value: Any, options: Sequence[Any], schema: Mapping[str, Any]) -> bool:
    """Say whether a value is among the allowed ones; the mark ``""`` is a value only where text is expected."""
    text = schema.get("type", "string") in ("string", "any")
    return any(same(value, option, schema) for option in options if option != "" or (text and value == ""))


def same(value: Any, gold: Any, schema: Mapping[str, Any]) -> bool:
    """Say whether a value is the gold one, under the schema's type."""
    if isinstance(gold, dict):
        return isinstance(value, dict) and _same_dict(value, gold, schema.get("properties") or {})
    if isinstance(gold, list):
        items = schema.get("items") or {}
        return isinstance(value, list) and len(value) == len(gold) and all(
            same(one, other, items) for one, other in zip(value, gold, strict=True)
        )  # fmt: skip
    if isinstance(gold, str):
        return isinstance(value, str) and _plain(value) == _plain(gold)
    if isinstance(gold, bool) or isinstance(value, bool):
        return isinstance(gold, bool) and isinstance(value, bool) and value == gold
    if schema.get("type") == "integer" and isinstance(value, float):
        return False
    return bool(value == gold)


def _same_dict(value: dict[str, Any], gold: dict[str, Any], properties: Mapping[str, Any]) -> bool:
    if not set(value) <= set(gold):
        return False
    for key, options in gold.items():
        options = options if isinstance(options, list) else [options]
        if key not in value:
            if "" not in options:
                return False
        elif not _allowed(value[key], options, properties.get(key) or {}):
            return False
    return True


def _plain(text: str) -> str:
    return _DROPPED.sub("", text).lower().replace("'", '"')


def assign(fits: Sequence[Sequence[bool]]) -> int:
    """Return the size of the largest one-to-one matching, by augmenting paths; ``fits[call][gold]``."""
    owner: dict[int, int] = {}

    def place(call: int, seen: set[int]) -> bool:
        for gold, fit in enumerate(fits[call]):
            if fit and gold not in seen:
                seen.add(gold)
                if gold not in owner or place(owner[gold], seen):
                    owner[gold] = call
                    return True
        return False

    return sum(place(call, set()) for call in range(len(fits)))
