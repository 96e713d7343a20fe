"""What changed between two runs, what it did to each domain, and which stage it came in by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from collegium.errors import CollegiumError, StoreError
from collegium.recipe.source import read_yaml
from collegium.running.directory import LOCK, RECIPE, REPORT, RunDirectory
from collegium.running.lock import drift
from collegium.store import read_object

SHARED_KEYS = ("seed", "threads")
"""Keys of a recipe that every stage's numbers depend on."""


def diff_runs(directory_a: Path, directory_b: Path) -> dict[str, Any]:
    """Compare two runs' locks and reports.

    Returns:
        ``changes`` in words; ``stages`` whose artifacts differ; and per domain of the student: its score in each run
        (``a``, ``b``, ``change``), whether the scores are ``comparable`` (same held-out tasks and verifier), and
        ``causes``, the stages that changed themselves, each with its own scores and what it changed by.
    """
    runs = [RunDirectory.open(directory).path for directory in (directory_a, directory_b)]
    try:
        return _compared(runs)
    except CollegiumError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise StoreError(
            f"{' or '.join(map(str, runs))} does not hold what a run writes ({type(error).__name__}: {error})",
            fix="compare two runs of the same version",
        ) from error


def _compared(runs: Sequence[Path]) -> dict[str, Any]:
    locks = [read_object(run / LOCK) for run in runs]
    reports = [read_object(run / REPORT) for run in runs]
    changes = [*_drift(locks), *_recipe_changes([flatten(read_yaml(run / RECIPE)[0]) for run in runs])]
    names = dict.fromkeys([*reports[0]["domains"], *reports[1]["domains"]])
    return {
        "changes": changes,
        "stages": [stage for stage in _stages(locks) if _differs(locks, "stages", stage)],
        "domains": {name: _domain(name, locks, reports, changes) for name in names},
    }


def flatten(value: Any, path: str = "") -> dict[str, Any]:
    """Return dotted key to leaf of a nested mapping."""
    if not isinstance(value, dict) or not value:
        return {path: value}
    return {
        key: leaf
        for name, item in value.items()
        for key, leaf in flatten(item, f"{path}.{name}" if path else name).items()
    }


def _drift(locks: Sequence[Mapping[str, Any]]) -> list[str]:
    return [sentence for sentence in drift(*locks) if not sentence.startswith("recipe:")]


def _recipe_changes(recipes: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    before, after = recipes
    for key in sorted({*before, *after}):
        if before.get(key) != after.get(key):
            yield f"recipe: {key}: {before.get(key, 'absent')} -> {after.get(key, 'absent')}"


def _stages(locks: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the stages of both runs, in the order in which they ran."""
    return list(dict.fromkeys([*locks[0]["stages"], *locks[1]["stages"]]))


def _differs(locks: Sequence[Mapping[str, Any]], section: str, name: str, key: str = "") -> bool:
    rows = [lock.get(section, {}).get(name) for lock in locks]
    return (rows[0] or {}).get(key) != (rows[1] or {}).get(key) if key else rows[0] != rows[1]


def _domain(
    name: str, locks: Sequence[Mapping[str, Any]], reports: Sequence[Mapping[str, Any]], changes: Sequence[str]
) -> dict[str, Any]:
    rows = [report["domains"].get(name, {}) for report in reports]
    student = [row.get("student_stage") for row in rows]
    upstream = [_upstream(lock, stage) for lock, stage in zip(locks, student, strict=True)]
    causes = [
        {"stage": stage, **_change(*(row.get("scores", {}).get(stage) for row in rows))}
        | {"because": list(_because(stage, locks, changes))}
        for stage in _stages(locks)
        if stage in upstream[0] | upstream[1] and _differs(locks, "stages", stage, "own")
    ]
    comparable = not _differs(locks, "domains", name, "digest")
    return {**_change(*(row.get("student") for row in rows)), "comparable": comparable, "causes": causes}


def _upstream(lock: Mapping[str, Any], stage: str | None) -> set[str]:
    """Return a stage and all that it comes from."""
    found: set[str] = set()
    waiting = [stage] if stage is not None else []
    while waiting:
        current = waiting.pop()
        if current in lock["stages"] and current not in found:
            found.add(current)
            waiting += lock["stages"][current].get("inputs", [])
    return found


def _because(stage: str, locks: Sequence[Mapping[str, Any]], changes: Sequence[str]) -> Iterator[str]:
    """Yield the changes that are this stage's own: its packages', its part of the recipe, or everybody's."""
    rows = [lock["stages"].get(stage) for lock in locks]
    if None in rows:
        yield "the stage is new" if rows[0] is None else "the stage is gone"
        return
    for sentence in changes:
        if any(_concerns(sentence, row) for row in rows if row):
            yield sentence


def _concerns(sentence: str, stage: Mapping[str, Any]) -> bool:
    """Whether a change, as `drift` and `_recipe_changes` word it, can change what a stage makes."""
    what, _, rest = sentence.partition(" ")
    subject = rest.removeprefix("of domain ").partition(":")[0].partition(" ")[0]
    if what == "package":
        return subject in {*stage.get("packages", []), "collegium"}
    if what == "data":
        return subject in stage.get("domains", [])
    if what != "recipe:":
        return True
    if subject.startswith("domains."):
        return subject.split(".")[1] in stage.get("domains", [])
    return subject in (*SHARED_KEYS, stage["recipe"]) or subject.startswith((f"{stage['recipe']}.", "errors."))


def _change(a: float | None, b: float | None) -> dict[str, Any]:
    return {"a": a, "b": b, "change": None if a is None or b is None else round(b - a, 4)}
