"""A task's rubric: its criteria, read from the task's data, and the score of what they found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import regex  # type: ignore[import-untyped]  # it ships none
from pydantic import Field, ValidationError, field_validator, model_validator

from collegium import Config, DataError, Task

OWNER = "collegium-rewards"
PATTERN_S = 1.0
"""Seconds that matching a pattern may take."""


class Criterion(Config):
    """One criterion. It names a check or a pattern; if neither, the reward's judge decides."""

    text: str = Field(min_length=1)
    """What is asked, in words."""
    weight: float = 1.0
    """What it counts; negative for a fault, which costs where it is found."""
    check: str | None = None
    """The verifier that decides, by its name in the reward's `checks`."""
    pattern: str | None = None
    """A regular expression that is found in the completion."""
    reference: str | None = None
    """The check's reference, instead of the task's."""
    data: dict[str, Any] = {}
    """Fields of the task's data that are others for the check."""

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        try:
            regex.compile(value or "")
        except regex.error as error:
            raise ValueError(f"pattern is not a regular expression: {error}") from None
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Criterion:
        if self.weight == 0:
            raise ValueError("a weight of 0 counts nothing")
        if self.check is not None and self.pattern is not None:
            raise ValueError("a criterion has a check or a pattern, not both")
        if self.check is None and (self.reference is not None or self.data):
            raise ValueError("reference and data are read by a check, and none is named")
        return self


def criteria_of(task: Task, field: str, checks: Sequence[str], *, has_judge: bool) -> list[Criterion]:
    """Return the criteria of a task.

    Raises:
        DataError: If there are none, one is malformed, or nothing can decide it; names the task.
    """
    found = task.data.get(field)
    if not isinstance(found, list) or not found:
        raise DataError(f"task {task.id!r} has no list of criteria in its data's field {field!r}", owner=OWNER)
    criteria = [_criterion(task, number, each) for number, each in enumerate(found)]
    for criterion in criteria:
        if criterion.check is not None and criterion.check not in checks:
            listed = ", ".join(checks) or "none"
            raise DataError(
                f"task {task.id!r}: criterion {criterion.text!r} names the check {criterion.check!r}, of {listed}",
                owner=OWNER,
            )
        if criterion.check is None and criterion.pattern is None and not has_judge:
            raise DataError(
                f"task {task.id!r}: criterion {criterion.text!r} needs a judge, and the reward has none", owner=OWNER
            )
    texts = [criterion.text for criterion in criteria]
    if len(set(texts)) < len(texts):
        raise DataError(f"task {task.id!r} has one criterion twice", owner=OWNER)
    if not any(criterion.weight > 0 for criterion in criteria):
        raise DataError(f"task {task.id!r} has no criterion with a weight above 0", owner=OWNER)
    return criteria


def _criterion(task: Task, number: int, found: Any) -> Criterion:
    try:
        return Criterion.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "criterion"
        raise DataError(f"task {task.id!r}, criterion {number}: {where}: {first['msg']}", owner=OWNER) from error


def rubric_score(weights: Sequence[float], met: Sequence[float]) -> float:
    """Return the weighted share that is met: points over the most that there are, faults taken off, within [0, 1]."""
    most = sum(weight for weight in weights if weight > 0)
    points = sum(weight * share for weight, share in zip(weights, met, strict=True))
    return min(max(points / most, 0.0), 1.0)


def found_in(text: str, pattern: str) -> float:
    """Return 1 if the pattern is found in the text, else 0.

    Raises:
        TimeoutError: If that takes too long.
    """
    return float(regex.search(pattern, text, timeout=PATTERN_S, concurrent=True) is not None)


def task_for(criterion: Criterion, task: Task, field: str) -> Task:
    """Return the task as the criterion's check or judge sees it; the rubric itself is not shown."""
    data: Mapping[str, Any] = {name: value for name, value in task.data.items() if name != field} | criterion.data
    if criterion.check is None:
        reference: str | None = criterion.text
    else:
        reference = task.reference if criterion.reference is None else criterion.reference
    return Task(f"{task.id}#{criterion.text}", task.prompt, reference, data, task.domain)
