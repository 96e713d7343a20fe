"""Audits of the tool verifiers on labelled data: function calls (BFCL) and trajectories (tau-bench)."""

from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from collegium.audit import AuditSpec
from collegium.testing.conformance.cases import Case

Calls = list[tuple[str, dict[str, Any]]]
Action = dict[str, Any]
FORMATS = ("python", "json", "hermes", "openai")

CALLS = "collegium-verifier-tools/function-call"
STATE = "collegium-verifier-tools/database-state"
FAULTY_CALLS = {
    "parallel_multiple_12": "the gold has an argument that the function lacks",
    "parallel_multiple_21": "the gold is code where the function takes a list",
    "parallel_multiple_26": "the gold has an argument that the function lacks",
    "live_simple_106-63-0": "the gold allows no value for an argument",
    "live_simple_112-68-0": "the gold allows no value for an argument",
}
"""Rows whose ground truth does not fit its functions: an Error, never a score."""
FAULTY_TASKS = {
    "tau/retail/12": "the gold refunds to a payment method that the tool refuses",
    "tau/retail/64": "the gold exchanges items of an order that is still pending",
    "tau/retail/106": "the gold pays with a gift card that has too little on it",
}
"""Tasks with a gold action that fails in the shop's own tools: an Error, never a score."""
NEUTRAL = {
    f"tau/retail/22/1 {change}": "a later gold action sets this address again: no difference at the end"
    for change in ("dropped", "user_id", "address1", "address2", "city", "state", "country", "zip")
} | {
    f"tau/retail/111/1 {change}": "the gold sets the address that the user has already: no difference at the end"
    for change in ("dropped", "user_id")
}  # fmt: skip
"""Perturbed trajectories that end in the gold's state all the same, one by one."""


def audits(data: Path) -> Iterator[AuditSpec]:
    """Yield the audits, in the order of the README's table."""
    rows = [json.loads(line) for line in (data / "tool_bfcl.jsonl").read_text("utf-8").splitlines()]
    sound = [row for row in rows if row["id"] not in FAULTY_CALLS]
    source = f"tool_bfcl.jsonl, rewritten, without {', '.join(FAULTY_CALLS)}"
    for form in FORMATS:
        cases = [case for row in sound for case in _call_cases(row, form)]
        yield AuditSpec(f"BFCL calls, {form}", CALLS, cases, {"format": form}, source=source)
    mixed = [case for at, row in enumerate(sound) for case in _call_cases(row, FORMATS[at % len(FORMATS)])]
    yield AuditSpec("BFCL calls, formats mixed", CALLS, mixed, source=source)
    yield from _state_audits(data)


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


def _call_cases(row: dict[str, Any], form: str) -> Iterator[Case]:
    task = {"functions": row["functions"], "ground_truth": row["ground_truth"]}
    for name, calls, expected in _variants(row):
        text = render(calls, form) if calls or row["ground_truth"] else "None of these functions can do that."
        yield Case(id=f"{row['id']}/{name}", completion=text, expected=expected, task=task)
    if not row["ground_truth"]:
        quoted, single = row["functions"][0]["name"], repr({"name": row["functions"][0]["name"], "arguments": {}})
        for name, text, expected in (
            ("named", f'I cannot use "{quoted}" for that question.', 1),
            ("spaced", f"Sure: {quoted} (x='a')", 0),
            ("dictionary", f"Here: {single}", 0),
        ):
            yield Case(id=f"{row['id']}/{name}", completion=text, expected=expected, task=task)


def _variants(row: dict[str, Any]) -> Iterator[tuple[str, Calls, int]]:
    if not row["ground_truth"]:
        yield "prose", [], 1
        yield "call", [(row["functions"][0]["name"], {})], 0
        return
    needed = {item["name"]: item["parameters"].get("required", []) for item in row["functions"]}
    for number in range(3):
        yield f"gold{number}", [_gold(call, number, needed) for call in row["ground_truth"]], 1
    golds = [_gold(call, 0, needed) for call in row["ground_truth"]]
    yield "reversed", golds[::-1], 1
    yield "dropped", golds[1:], 0
    yield "all", [(item["name"], {}) for item in row["functions"]] + golds, 0
    for at, (name, arguments) in enumerate(golds):
        for change, call in _wrong(name, arguments, needed[name]):
            yield f"{at}.{change}", [*golds[:at], call, *golds[at + 1 :]], 0
        yield f"{at}.twice", [*golds, (name, arguments)], 0


def _wrong(name: str, arguments: dict[str, Any], needed: list[str]) -> Iterator[tuple[str, tuple[str, dict[str, Any]]]]:
    """Yield (what was done, a call that is not the gold one)."""
    yield "name", (name + "_x", arguments)
    yield "extra", (name, arguments | {"zz_extra": 1})
    for key, value in arguments.items():
        yield f"value {key}", (name, arguments | {key: _other(value)})
        yield f"text {key}", (name, arguments | {key: "zz wrong value"})
        yield f"both {key}", (name, arguments | {key: [value, _other(value)]})
        if key in needed:
            yield f"missing {key}", (name, {k: v for k, v in arguments.items() if k != key})


def _other(value: Any) -> Any:
    """Return a value of the same type that no ground truth of these rows allows in its place."""
    if isinstance(value, bool):
        return 1 if value else 0
    if isinstance(value, int | float):
        return value + 987_653
    if isinstance(value, list):
        return [*value, _other(value[-1]) if value else 1]
    return value | {"zz_extra": 1} if isinstance(value, dict) else f"{value} zz"


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


def _state_audits(data: Path) -> Iterator[AuditSpec]:
    tasks = {row["id"]: row for row in map(json.loads, (data / "tool_tau_tasks.jsonl").read_text("utf-8").splitlines())}
    retail = [row for row in tasks.values() if row["domain"] == "retail"]
    sound = [row for row in retail if row["id"] not in FAULTY_TASKS]
    options = {"environment": "retail", "database": "tool_tau_retail_db.jsonl.gz"}
    source = f"tool_tau_tasks.jsonl, tool_tau_retail_db.jsonl.gz, without {', '.join(FAULTY_TASKS)}"
    right = [case for row in sound for case in _right(row)]
    yield AuditSpec("tau-bench retail, gold actions", STATE, right, options, source=source)
    wrong = [case for row in sound for case in _wrong_state(row)]
    yield AuditSpec("tau-bench retail, gold made wrong", STATE, wrong, options, NEUTRAL, source=source)
    text = gzip.decompress((data / "tool_tau_airline_trajectories.jsonl.gz").read_bytes())
    flown = [_trajectory(row, tasks[row["id"]]) for row in map(json.loads, text.splitlines())]
    yield AuditSpec(
        "tau-bench airline, gpt-4o trajectories", STATE, flown,
        {"environment": "airline-writes", "trust_results": True},
        source="tool_tau_airline_trajectories.jsonl.gz: published rewards",
    )  # fmt: skip


def _trajectory(row: dict[str, Any], task: dict[str, Any]) -> Case:
    name, gold = f"{row['id']}/{row['trial']}", {key: task[key] for key in ("actions", "outputs")}
    return Case(id=name, completion=json.dumps(row["messages"]), expected=row["reward"], task=gold)


def _state_case(
    row: dict[str, Any], name: str, actions: list[Action], said: list[str] | None = None, expected: int = 1
) -> Case:
    words = {"role": "assistant", "content": "; ".join(row["outputs"] if said is None else said) or "Done."}
    task = {key: row[key] for key in ("actions", "outputs")}
    text = json.dumps([*actions, words])
    return Case(id=f"{row['id']}/{name}", completion=text, expected=expected, task=task)


def _before_transfer(actions: list[Action]) -> list[Action]:
    """Put handing over, which ends an episode, last."""
    return sorted((dict(action) for action in actions), key=lambda action: action["name"].startswith("transfer"))


def _right(row: dict[str, Any]) -> Iterator[Case]:
    spoken = [{"role": "assistant", "content": "; ".join(row["outputs"]) or "Done."}]
    actions = _before_transfer(row["actions"])
    for name, calls in (("gold", actions), ("writes only", [action for action in actions if _writes(action)])):
        yield _state_case(row, name, spoken + calls)
    chat = [_as_message(action) for action in actions]
    task = {key: row[key] for key in ("actions", "outputs")}
    yield Case(id=f"{row['id']}/chat", completion=json.dumps(spoken + chat), expected=1, task=task)


def _as_message(action: Action) -> dict[str, Any]:
    call = {"name": action["name"], "arguments": json.dumps(action["kwargs"])}
    return {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": call}]}


def _writes(action: Action) -> bool:
    return action["name"].startswith(("cancel", "modify", "exchange", "return"))


def _wrong_state(row: dict[str, Any]) -> Iterator[Case]:
    """Yield trajectories that end in another state, or do not say what had to be said."""
    actions = [action for action in row["actions"] if not action["name"].startswith("transfer")]
    for at, action in enumerate(actions):
        if not _writes(action):
            continue
        yield _state_case(row, f"{at} dropped", actions[:at] + actions[at + 1 :], expected=0)
        for change, kwargs in _changed(action["kwargs"]):
            wrong = {"name": action["name"], "kwargs": kwargs}
            yield _state_case(row, f"{at} {change}", [*actions[:at], wrong, *actions[at + 1 :]], expected=0)
    stray = {"name": "modify_user_address", "kwargs": dict.fromkeys(_ADDRESS, "x") | {"user_id": "noah_brown_6181"}}
    yield _state_case(row, "another user's address", [*actions, stray], expected=0)
    for at, output in enumerate(row["outputs"]):
        others = row["outputs"][:at] + row["outputs"][at + 1 :]
        yield _state_case(row, f"output {at} unsaid", actions, others, expected=0)
        yield _state_case(row, f"output {at} altered", actions, [*others, f"{output[:-1]}~{output[-1]}"], expected=0)
    if row["outputs"] or any(map(_writes, actions)):
        yield _state_case(row, "idle", [], ["Is there anything else?"], expected=0)


_ADDRESS = ("address1", "address2", "city", "state", "country", "zip")


def _changed(kwargs: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for key, value in kwargs.items():
        if isinstance(value, str):
            yield key, kwargs | {key: f"{value}1"}
        else:
            yield f"{key}, one less", kwargs | {key: value[:-1]}
    pairs = [key for key in ("item_ids", "new_item_ids") if key in kwargs]
    if pairs and len(kwargs["item_ids"]) > 1:
        yield "one item less", kwargs | {key: kwargs[key][:-1] for key in pairs}
    for first, second in itertools.pairwise(pairs):
        if kwargs[first] == kwargs[second]:
            continue  # the gold itself
        yield "nothing new", kwargs | {second: kwargs[first]}
