"""Sets of training tasks that a stage chose, such as those of middling difficulty: their file, and what it restricts.

A row of ``prompts.jsonl`` is ``{"domain", "task"}`` and whatever else the stage has to say of the task.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from collegium.errors import DataError
from collegium.kinds.data_files import read_json_lines
from collegium.task import Task

PROMPTS_FILE = "prompts.jsonl"
"""Name of the file in a data artifact's folder."""

OWNER = "collegium"


def read_prompts(folders: Iterable[str | Path]) -> dict[str, set[str]]:
    """Return domain to the ids of its tasks that any of the data artifacts names.

    Raises:
        DataError: If a file is missing, empty or malformed; names file and line.
    """
    chosen: dict[str, set[str]] = {}
    for folder in folders:
        file = Path(folder) / PROMPTS_FILE
        if not file.is_file():
            raise DataError(
                f"no {PROMPTS_FILE} in {str(folder)!r}", fix="name stages that choose prompts in prompts_from"
            )
        for line, row in read_json_lines(file, owner=OWNER):
            domain, task = row.get("domain"), row.get("task")
            if not isinstance(domain, str) or not isinstance(task, str):
                raise DataError(f'{file}:{line}: expected {{"domain": text, "task": text}}, found {sorted(row)}')
            chosen.setdefault(domain, set()).add(task)
    return chosen


def restrict(tasks: Mapping[str, Sequence[Task]], chosen: Mapping[str, set[str]]) -> dict[str, list[Task]]:
    """Return each domain's tasks that are chosen, in the domain's order.

    Raises:
        DataError: If none of a domain is, or one is named that the domain does not have.
    """
    return {name: _restricted(name, own, chosen) for name, own in tasks.items()}


def _restricted(domain: str, tasks: Sequence[Task], chosen: Mapping[str, set[str]]) -> list[Task]:
    wanted = chosen.get(domain, set())
    if not wanted:
        raise DataError(
            f"prompts_from names no task of domain {domain!r}; it names tasks of {', '.join(sorted(chosen)) or 'none'}",
            fix="let the stage that chooses prompts see this domain, or leave it out with domains: [...]",
        )
    unknown = sorted(wanted - {task.id for task in tasks})
    if unknown:
        raise DataError(
            f"prompts_from names {len(unknown)} tasks that domain {domain!r} does not have, such as {unknown[0]!r}",
            fix="run the stage that chooses prompts again on these tasks",
        )
    return [task for task in tasks if task.id in wanted]
