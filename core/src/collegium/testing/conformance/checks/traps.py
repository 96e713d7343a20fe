"""Checks for traps that verifiers of the field have fallen into: each turns a fault of the data into a full reward.

They look only at what the verifier reads of a task (`watched`), so one that needs no reference is not asked for one.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from typing import Any

from collegium.task import Completion, Task
from collegium.testing.conformance.check import check
from collegium.testing.conformance.exercise import Outcome, judge, labelled_items
from collegium.testing.conformance.outcome import NotApplicable, require
from collegium.testing.conformance.subject import Subject
from collegium.testing.conformance.watched import WatchedTask

UNPARSEABLE = "}}{{ no such value \u2205 \\frac{"
OTHER_UNPARSEABLE = "<<>> neither is this \\sqrt["
UNKNOWN = "collegium:no_such_name"
NAMES = re.compile(
    r"(^|_)(id|ids|name|names|type|types|kind|kinds|check|checks|rule|rules|test|tests|constraints?)(_|$)"
)
"""Keys of task data whose texts name what is to be checked, or are the checks themselves."""
NO_VALUES: tuple[Any, ...] = (10**6, 0, -1)


@check("verifier")
def missing_reference_refused(subject: Subject) -> None:
    """A task without its gold answer is an Error (returned or raised) or an Abstain, never a score."""
    for completion, task in _needing_reference(subject):
        for reference in (None, "", "  \n"):
            outcome = judge(subject.shared, (completion, _changed(task, reference=reference)))
            require(
                outcome[0] in ("error", "abstain", "raised"), f"reference {reference!r} of task {task.id!r}: {outcome}"
            )


@check("verifier")
def unparseable_reference_not_full(subject: Subject) -> None:
    """A gold answer that cannot be understood never gives anybody a full score."""
    for completion, task in _needing_reference(subject):
        for text in (completion.text, "", OTHER_UNPARSEABLE):
            outcome = judge(subject.shared, (Completion(text), _changed(task, reference=UNPARSEABLE)))
            require(not _full(outcome), f"reference {UNPARSEABLE!r}, completion {text[:60]!r}: {outcome}")


@check("verifier")
def unknown_names_not_full(subject: Subject) -> None:
    """An unknown constraint, check or test among the task's data never counts as met."""
    tried = 0
    for completion, task in _right(subject):
        for data in _with_unknown_names(_read_data(subject, completion, task)):
            tried += 1
            outcome = judge(subject.shared, (completion, _changed(task, data={**task.data, **data})))
            require(not _full(outcome), f"{UNKNOWN!r} in the data of task {task.id!r}: {outcome}, expected an Error")
    if not tried:
        raise NotApplicable("no right case whose data names constraints, checks or tests")


@check("verifier")
def repeated_names_all_count(subject: Subject) -> None:
    """Of two constraints with one name, both count: an unmet one is not overwritten by a met one."""
    tried = 0
    for completion, task in _right(subject):
        data = _read_data(subject, completion, task)
        for unmet in _unmet(subject, completion, task, data):
            for pair in ((unmet, data), (data, unmet)):
                tried += 1
                both = {key: [*pair[0][key], *pair[1][key]] for key in data}
                outcome = judge(subject.shared, (completion, _changed(task, data={**task.data, **both})))
                require(not _full(outcome), f"task {task.id!r} with {both}: {outcome}, though one half is not met")
    if not tried:
        raise NotApplicable("no right case whose data are lists of constraints with arguments")


def _full(outcome: Outcome) -> bool:
    return bool(outcome[0] == "score" and outcome[1] >= 1)


def _changed(task: Task, **changes: Any) -> Task:
    fields = {"reference": task.reference, "data": dict(task.data), **changes}
    return Task(task.id, task.prompt, fields["reference"], fields["data"], task.domain)


def _right(subject: Subject) -> Iterator[tuple[Completion, Task]]:
    """Yield what gets a full score as it is."""
    return (item for item in labelled_items(subject) if _full(judge(subject.shared, item)))


def _needing_reference(subject: Subject) -> list[tuple[Completion, Task]]:
    found = []
    for completion, task in labelled_items(subject):
        watched = WatchedTask(task)
        outcome = judge(subject.shared, (completion, watched))
        if outcome[0] == "score" and watched.reference_read and task.reference:
            found.append((completion, task))
    if not found:
        raise NotApplicable("it scores no case by its reference")
    return found


def _read_data(subject: Subject, completion: Completion, task: Task) -> dict[str, Any]:
    watched = WatchedTask(task)
    judge(subject.shared, (completion, watched))
    return {key: value for key, value in task.data.items() if key in watched.data.read}  # type: ignore[attr-defined]


def _with_unknown_names(data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield copies of the data in which one naming text is unknown."""
    yield from _variants(data, lambda key, leaf: [UNKNOWN] if isinstance(leaf, str) and NAMES.search(key) else [])


def _unmet(subject: Subject, completion: Completion, task: Task, data: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield copies of the data with the same names and other arguments that the completion does not meet."""
    lists = [value for value in data.values() if isinstance(value, list) and value]
    if not lists or len(lists) != len(data) or len({len(each) for each in lists}) != 1:
        return
    for other in _variants(data, lambda key, leaf: [] if NAMES.search(key) else _other_values(leaf)):
        outcome = judge(subject.shared, (completion, _changed(task, data={**task.data, **other})))
        if outcome[0] == "score" and not _full(outcome):
            yield other


def _other_values(leaf: Any) -> list[Any]:
    if isinstance(leaf, bool) or leaf is None:
        return []
    return list(NO_VALUES) if isinstance(leaf, (int, float)) else [UNKNOWN]


def _variants(data: dict[str, Any], values: Callable[[str, Any], list[Any]]) -> Iterator[dict[str, Any]]:
    """Yield copies of the data in which one leaf has another value; a list's leaves go by the list's key."""
    for path, key, leaf in list(_leaves(data)):
        for value in values(key, leaf):
            changed = copy.deepcopy(data)
            holder: Any = changed
            for step in path[:-1]:
                holder = holder[step]
            holder[path[-1]] = value
            yield changed


def _leaves(node: Any, path: tuple[Any, ...] = (), key: str = "") -> Iterator[tuple[tuple[Any, ...], str, Any]]:
    if isinstance(node, dict):
        for name, child in node.items():
            yield from _leaves(child, (*path, name), str(name))
    elif isinstance(node, list):
        for number, child in enumerate(node):
            yield from _leaves(child, (*path, number), key)
    else:
        yield path, key, node
