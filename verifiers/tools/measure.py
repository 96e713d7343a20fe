"""Audits of `function-call` on the Berkeley function-calling data: gold calls, and gold calls made wrong."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from collegium.audit import AuditSpec
from collegium.testing.conformance.cases import Case
from collegium_verifier_tools.gold import fault

Calls = list[tuple[str, dict[str, Any]]]


def audits(data: Path) -> Iterator[AuditSpec]:
    """Yield one audit per way of writing calls."""
    rows = [json.loads(line) for line in (data / "tool_bfcl.jsonl").read_text("utf-8").splitlines()]
    for form in ("python", "json", "hermes", "openai"):
        cases = [case for row in rows for case in _cases(row, form)]
        faults = {row["id"]: reason for row in rows if (reason := fault(row))}
        explained = {case.id: faults[row] for case in cases if (row := case.id.split("/")[0]) in faults}
        yield AuditSpec(f"bfcl, {form}", "collegium-verifier-tools/function-call", cases, {"format": form}, explained)


def render(calls: Calls, form: str) -> str:
    """Write calls in a format."""
    items = [{"name": name, "arguments": arguments} for name, arguments in calls]
    if form == "python":
        return "[" + ", ".join(f"{n}({', '.join(f'{k}={v!r}' for k, v in a.items())})" for n, a in calls) + "]"
    if form == "hermes":
        return "\n".join(f"<tool_call>\n{json.dumps(item)}\n</tool_call>" for item in items)
    if form == "json":
        return json.dumps(items)
    wrapped = [{"type": "function", "function": i | {"arguments": json.dumps(i["arguments"])}} for i in items]
    return json.dumps({"tool_calls": wrapped})


def _cases(row: dict[str, Any], form: str) -> Iterator[Case]:
    task = {"functions": row["functions"], "ground_truth": row["ground_truth"]}
    for name, calls, expected in _variants(row):
        text = render(calls, form) if calls or row["ground_truth"] else "None of these functions can do that."
        yield Case(id=f"{row['id']}/{name}", completion=text, expected=expected, task=task)


def _variants(row: dict[str, Any]) -> Iterator[tuple[str, Calls, int]]:
    if not row["ground_truth"]:
        yield "prose", [], 1
        yield "call", [(row["functions"][0]["name"], {})], 0
        return
    needed = {item["name"]: item["parameters"].get("required", []) for item in row["functions"]}
    for number in range(3):
        yield f"gold{number}", [_gold(call, number, needed) for call in row["ground_truth"]], 1
    (name, arguments), *rest = [_gold(call, 0, needed) for call in row["ground_truth"]]
    yield "reversed", [*rest[::-1], (name, arguments)], 1
    yield "name", [(name + "_x", arguments), *rest], 0
    yield "extra", [(name, arguments | {"zz_extra": 1}), *rest], 0
    yield "dropped", rest, 0
    yield "twice", [(name, arguments), (name, arguments), *rest], 0
    yield "all", [(item["name"], {}) for item in row["functions"]] + [(name, arguments), *rest], 0
    for key in itertools.islice(arguments, 1):
        yield "value", [(name, arguments | {key: "zz wrong value"}), *rest], 0
    for key in [key for key in needed[name] if key in arguments][:1]:
        yield "missing", [(name, {k: v for k, v in arguments.items() if k != key}), *rest], 0


def _gold(call: dict[str, Any], number: int, needed: dict[str, list[str]]) -> tuple[str, dict[str, Any]]:
    ((name, allowed),) = call.items()
    chosen = {}
    for key, values in allowed.items():
        # "" marks an argument that may be left out, unless the function requires it.
        values = [value for value in values if value != "" or key not in needed.get(name, [])]
        if values and (value := values[number % len(values)]) != "":
            chosen[key] = _plain(value)
    return name, chosen


def _plain(value: Any) -> Any:
    """Turn a gold dictionary of allowed values into one of values."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    picked = {key: options[0] if isinstance(options, list) else options for key, options in value.items()}
    return {key: _plain(item) for key, item in picked.items() if item != ""}
