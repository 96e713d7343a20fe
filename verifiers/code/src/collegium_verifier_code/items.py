"""From a task to what the sandbox is asked to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from collegium import Task
from collegium_verifier_code.source import prefix_of

Item = dict[str, Any]
FORMS = "`tests` (a list of test texts), `test` with `entry_point` (HumanEval's), or `io` (a list of {stdin, stdout})"


class BadTask(Exception):
    """The task does not carry tests that can be run."""


def form_of(data: Mapping[str, Any]) -> str:
    """Say which form of tests a task carries.

    Raises:
        BadTask: If it is none, or several.
    """
    forms = [name for name in ("tests", "test", "io") if data.get(name)]
    if len(forms) != 1:
        raise BadTask(f"task.data must hold one of {FORMS}; found {sorted(data)}")
    return forms[0]


def function_item(source: str, task: Task, *, timeout_s: float, stop_early: bool) -> Item:
    """Describe tests that call functions.

    Raises:
        BadTask: If the fields have the wrong types.
    """
    whole = "test" in task.data
    entry_point = task.data.get("entry_point")
    if whole and not entry_point:
        raise BadTask("`test` needs `entry_point`, the name of the function that it checks")
    tests = [f"{task.data['test']}\n\ncheck({entry_point})\n"] if whole else task.data["tests"]
    setup = task.data.get("setup") or ""
    if not _texts(tests) or not isinstance(setup, str) or not isinstance(entry_point, str | None):
        raise BadTask("`tests` must be a list of texts, `setup` and `entry_point` texts")
    return {
        "mode": "functions",
        "source": source,
        "tests": list(tests),
        "setup": setup,
        "helpers": prefix_of(task) if whole else "",
        "entry_point": entry_point,
        "each_assert": whole,
        "timeout_s": timeout_s,
        "stop_early": stop_early,
    }


def program_items(source: str, task: Task, *, timeout_s: float) -> list[tuple[Item, str]]:
    """Describe the runs of a program, each with the output expected of it, which never enters the sandbox.

    Raises:
        BadTask: If the fields have the wrong types.
    """
    cases = task.data["io"]
    if not isinstance(cases, Sequence) or not all(isinstance(case, Mapping) for case in cases):
        raise BadTask("`io` must be a list of {stdin, stdout}")
    items: list[tuple[Item, str]] = []
    for case in cases:
        stdin, stdout = case.get("stdin", ""), case.get("stdout")
        if not isinstance(stdin, str) or not isinstance(stdout, str):
            raise BadTask("a case of `io` must hold `stdout` (and may hold `stdin`) as text")
        items.append(({"mode": "program", "source": source, "stdin": stdin, "timeout_s": timeout_s}, stdout))
    return items


def _texts(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(item, str) for item in value)
