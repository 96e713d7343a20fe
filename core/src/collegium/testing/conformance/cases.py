"""Labelled cases, in the format of `collegium audit`: what a verifier must say of a completion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import ConfigDict, Field, ValidationError

from collegium.component import Config
from collegium.errors import DataError
from collegium.kinds.data_files import read_json_lines
from collegium.task import Completion, Sample, Task

CASES_FILE = "cases.jsonl"
"""Name of a package's file of cases, beside its entry-point module or in its folder."""


class Case(Config):
    """One labelled case. Keys that are not listed here are ignored: rows may carry their source or licence."""

    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True)

    id: str
    """Unique within the file."""
    completion: str
    """What a model answered."""
    prompt: str = ""
    """The task's prompt."""
    reference: str | None = None
    """The gold answer."""
    expected: float | None = Field(default=None, ge=0, le=1)
    """1 for a right answer, 0 for a wrong one; None if the case is only an input."""
    task: dict[str, Any] = {}
    """What the verifier reads besides the reference."""
    component: str | None = None
    """Short name of the component that it is for; None for all that judge completions."""
    domain: str = "conformance"
    """Domain of the task, for routers."""
    hangs: bool = False
    """Judging it may never end: used only to see that the time limit is obeyed."""

    def as_task(self, **changes: Any) -> Task:
        """Return the task, with some fields changed."""
        fields = {"reference": self.reference, "data": self.task, "domain": self.domain}
        return Task(self.id, self.prompt, **{**fields, **changes})

    def as_sample(self, group: int = 0) -> Sample:
        """Return task and completion."""
        return Sample(self.as_task(), Completion(self.completion), group)


Cases: TypeAlias = "Sequence[Case | Mapping[str, Any]] | Path | str"


def read_cases(given: Cases) -> tuple[Case, ...]:
    """Return cases from a JSON Lines file or from mappings.

    Raises:
        DataError: If the file is missing or empty, or a row is no case; names the row.
    """
    if isinstance(given, (str, Path)):
        path = Path(given)
        rows: Iterable[tuple[object, Any]] = ((f"{path}:{n}", row) for n, row in read_json_lines(path, owner=path.name))
    else:
        rows = ((f"case {number}", row) for number, row in enumerate(given, 1))
    return tuple(_case(where, row) for where, row in rows)


def _case(where: object, row: Any) -> Case:
    try:
        return row if isinstance(row, Case) else Case.model_validate(row)
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(
            f"{where}: not a case: {'.'.join(map(str, first['loc'])) or 'row'}: {first['msg']}",
            fix='a case is {"id", "prompt", "completion", "reference", "expected": 0|1, "task": {...}}',
        ) from error
