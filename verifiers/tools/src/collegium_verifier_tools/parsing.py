"""Read function calls from a completion. Literals only: nothing of a completion is ever evaluated."""

from __future__ import annotations

import ast
import json
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Format = Literal["auto", "python", "json", "hermes", "openai"]
MAX_BITS = 1024  # larger integers cost quadratic time to print, and no tool takes them


class NotCalls(ValueError):
    """The text is not a list of calls in the format asked for."""


@dataclass(frozen=True, slots=True)
class Call:
    """One function call."""

    name: str
    arguments: dict[str, Any]


def parse(text: str, form: Format, strict: bool) -> list[Call]:
    """Return the calls that `text` makes.

    Raises:
        NotCalls: If it is not calls in that format; says why in a line.
    """
    text = text.strip() if strict else _inner(text)
    if not text:
        raise NotCalls("the completion is empty")
    try:
        return _READERS[_detect(text) if form == "auto" else form](text, strict)
    except NotCalls:
        raise
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise NotCalls(f"not readable as calls: {type(error).__name__}") from error


def _inner(text: str) -> str:
    """Return what stands outside the thinking, out of its code fence if there is exactly one."""
    text = after_thinking(text)
    parts = text.split("```")
    if len(parts) != 3:
        return text
    label, newline, body = parts[1].partition("\n")
    return (body if newline and label.strip().isalpha() else parts[1]).strip()


def after_thinking(text: str) -> str:
    """Return what stands outside the thinking; a block that is not closed leaves nothing.

    A prompt may have opened the first block: then all before its end is thinking.
    """
    *thoughts, rest = text.split("</think>")
    if "<think>" in rest:
        return ""
    before = [before for before, opened, _ in (thought.partition("<think>") for thought in thoughts) if opened]
    return "".join([*before, rest]).strip()


def _detect(text: str) -> Format:
    if text.startswith("{") or text.removeprefix("[").lstrip().startswith("{"):
        return "openai" if _is_openai(load_json(text)) else "json"
    return "hermes" if "<tool_call>" in text else "python"


def _is_openai(found: Any) -> bool:
    first = found[0] if isinstance(found, list) else found
    return isinstance(first, dict) and "name" not in first and ("tool_calls" in first or "function" in first)


def _python(text: str, _strict: bool) -> list[Call]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an odd escape in a text is no fault; as an error it would read as one
        body = ast.parse(text, mode="eval").body
    return [_python_call(node) for node in (body.elts if isinstance(body, ast.List) else [body])]


def _python_call(node: ast.expr) -> Call:
    if not isinstance(node, ast.Call):
        raise NotCalls("a list entry is not a call")
    if node.args or any(keyword.arg is None for keyword in node.keywords):
        raise NotCalls("arguments must be given by name")
    return Call(_dotted(node.func), _unique([(str(word.arg), _literal(word.value)) for word in node.keywords]))


def _dotted(node: ast.expr) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        raise NotCalls("a function must be given by its name")
    return ".".join([node.id, *reversed(parts)])


def _literal(node: ast.expr) -> Any:
    # `true`, `false` and `null` come from models that mix JSON into Python.
    if isinstance(node, ast.Name) and node.id in ("true", "false", "null"):
        return {"true": True, "false": False, "null": None}[node.id]
    if isinstance(node, ast.List | ast.Tuple):
        return [_literal(item) for item in node.elts]
    if isinstance(node, ast.Dict):
        return _unique([(_key(key), _literal(value)) for key, value in zip(node.keys, node.values, strict=True)])
    value = ast.literal_eval(node)
    if not isinstance(value, str | int | float | None) or (isinstance(value, int) and value.bit_length() > MAX_BITS):
        raise NotCalls("an argument is not a plain value")
    return value


def _key(node: ast.expr | None) -> str:
    if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
        raise NotCalls("a dictionary's keys must be text")
    return node.value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotCalls("a name is given twice")
    return found


def _no_constant(name: str) -> Any:
    raise NotCalls(f"{name} is not JSON")


def _finite(number: str) -> float:
    if not math.isfinite(value := float(number)):
        raise NotCalls("a number is too large")
    return value


def load_json(text: str) -> Any:
    """Return the JSON value of `text`; a key given twice, `NaN` and a number beyond all bounds are refused.

    Raises:
        ValueError: If it is not such JSON; `NotCalls` is one.
        RecursionError: If it is nested too deeply.
    """
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)


def _json(text: str, _strict: bool) -> list[Call]:
    found = load_json(text)
    return [json_call(item) for item in (found if isinstance(found, list) else [found])]


def json_call(item: Any) -> Call:
    """Return the call that an object ``{"name", "arguments"}`` stands for; arguments may be JSON in a text.

    Raises:
        ValueError: If it stands for none; `NotCalls` is one.
    """
    if not isinstance(item, dict) or not isinstance(item.get("name"), str):
        raise NotCalls('a call must be {"name": text, "arguments": {...}}')
    arguments = item.get("arguments", {})
    arguments = load_json(arguments) if isinstance(arguments, str) else arguments
    if not isinstance(arguments, dict):
        raise NotCalls("a call's arguments must be an object")
    return Call(item["name"], arguments)


def _hermes(text: str, strict: bool) -> list[Call]:
    before, *blocks = text.split("<tool_call>")
    pieces = [block.partition("</tool_call>") for block in blocks]
    if not all(closed for _, closed, _ in pieces):
        raise NotCalls("a <tool_call> is not closed")
    if strict and (before.strip() or any(after.strip() for _, _, after in pieces)):
        raise NotCalls("there is text beside the calls")
    return [json_call(load_json(body)) for body, _, _ in pieces]


def _openai(text: str, _strict: bool) -> list[Call]:
    found = load_json(text)
    calls = found.get("tool_calls") if isinstance(found, dict) and "tool_calls" in found else found
    calls = calls if isinstance(calls, list) else [calls]
    return [json_call(item.get("function") if isinstance(item, dict) else None) for item in calls]


_READERS: dict[str, Callable[[str, bool], list[Call]]] = {
    "python": _python, "json": _json, "hermes": _hermes, "openai": _openai,
}  # fmt: skip
