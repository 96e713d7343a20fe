"""Read an agent's trajectory from a completion: what it called and what it said, in order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

from collegium_verifier_tools.parsing import Call, NotCalls, json_call, load_json

Step: TypeAlias = Call | str
"""A call, or words to the user."""


def read_trajectory(text: str, *, trust_results: bool = False) -> list[Step]:
    """Return the steps of a completion.

    It is a JSON list of calls (``{"name", "kwargs" or "arguments"}``) and chat messages, an object with such a list
    under ``messages`` or ``actions``, or plain text with ``<tool_call>`` blocks. Only the assistant's messages count,
    and only those without a call: words beside a call do not reach the user. In plain text the words are what follows
    the last block.

    Args:
        trust_results: Leave out calls that a following message of role `tool` answers with ``Error...``. Only where
            those messages come from an environment: a model that writes them could undo its own calls.

    Raises:
        NotCalls: If it is none of these; says why in a line.
    """
    text = text.strip()
    try:
        if text.startswith(("[", "{")):
            return list(_steps(_items(load_json(text)), trust_results))
        if "<tool_call>" in text:
            return list(_marked(text))
    except NotCalls:
        raise
    except (ValueError, RecursionError, MemoryError) as error:
        raise NotCalls(f"not readable as a trajectory: {type(error).__name__}") from error
    raise NotCalls("the completion is no trajectory: neither JSON nor <tool_call> blocks")


def call_of(item: Any) -> Call:
    """Return the call that an object ``{"name", "kwargs" or "arguments"}`` stands for.

    Raises:
        ValueError: If it stands for none; `NotCalls` is one.
    """
    if isinstance(item, dict) and "kwargs" in item:
        if "arguments" in item:
            raise NotCalls("a call has both kwargs and arguments")
        item = {"name": item.get("name"), "arguments": item["kwargs"]}
    return json_call(item)


def _items(found: Any) -> list[Any]:
    if isinstance(found, dict):
        lists = [found[key] for key in ("messages", "actions") if key in found]
        found = lists[0] if len(lists) == 1 else None if lists else [found]
    if not isinstance(found, list):
        raise NotCalls("a trajectory must be a list of calls or messages")
    return found


def _steps(items: list[Any], trust_results: bool) -> Iterator[Step]:
    for at, item in enumerate(items):
        if not isinstance(item, dict):
            raise NotCalls("an entry is neither a call nor a message")
        if "role" not in item:
            call = call_of(item)
            yield _words(call.arguments.get("content")) if call.name == "respond" else call
        elif item["role"] == "assistant":
            yield from _turn(item, _failures(items, at) if trust_results else [])


def _turn(message: dict[str, Any], failures: list[bool]) -> Iterator[Step]:
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list):
        raise NotCalls("tool_calls must be a list")
    if not calls and (words := _words(message.get("content"))):
        yield words
    for number, call in enumerate(calls):
        if not (number < len(failures) and failures[number]):
            yield call_of(call.get("function") if isinstance(call, dict) else None)


def _failures(items: list[Any], at: int) -> list[bool]:
    """Say of the tool messages right after a turn, in order, which report an error."""
    found = []
    for item in items[at + 1 :]:
        if not isinstance(item, dict) or item.get("role") != "tool":
            break
        found.append(_words(item.get("content")).startswith("Error"))
    return found


def _words(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(_words(part.get("text")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _marked(text: str) -> Iterator[Step]:
    after = ""
    for block in text.split("<tool_call>")[1:]:
        body, closed, after = block.partition("</tool_call>")
        if not closed:
            raise NotCalls("a <tool_call> is not closed")
        yield call_of(load_json(body))
    if after.strip():
        yield after.strip()
