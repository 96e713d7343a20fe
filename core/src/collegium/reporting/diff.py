"""What changed between two runs, and what it did to each domain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from collegium.recipe.source import read_yaml
from collegium.running.directory import LOCK, RECIPE, REPORT, RunDirectory
from collegium.running.lock import drift
from collegium.store import read_object


def diff_runs(directory_a: Path, directory_b: Path) -> dict[str, Any]:
    """Compare two runs' locks and reports.

    Returns:
        ``changes`` in words, ``stages`` whose artifacts differ, and per domain the student's score in each.
    """
    runs = [RunDirectory.open(directory).path for directory in (directory_a, directory_b)]
    lock_a, lock_b = (read_object(run / LOCK) for run in runs)
    report_a, report_b = (read_object(run / REPORT) for run in runs)
    stages = [
        stage
        for stage in dict.fromkeys([*lock_a["stages"], *lock_b["stages"]])
        if lock_a["stages"].get(stage) != lock_b["stages"].get(stage)
    ]
    domains = {
        name: _change(report_a["domains"].get(name, {}), report_b["domains"].get(name, {}))
        for name in dict.fromkeys([*report_a["domains"], *report_b["domains"]])
    }
    recipes = [flatten(read_yaml(run / RECIPE)[0]) for run in runs]
    changes = [sentence for sentence in drift(lock_a, lock_b) if not sentence.startswith("recipe:")]
    changes += [
        f"recipe: {key}: {recipes[0].get(key, 'absent')} -> {recipes[1].get(key, 'absent')}"
        for key in sorted({*recipes[0], *recipes[1]})
        if recipes[0].get(key) != recipes[1].get(key)
    ]
    return {"changes": changes, "stages": stages, "domains": domains}


def flatten(value: Any, path: str = "") -> dict[str, Any]:
    """Return dotted key to leaf of a nested mapping."""
    if not isinstance(value, dict):
        return {path: value}
    return {
        key: leaf
        for name, item in value.items()
        for key, leaf in flatten(item, f"{path}.{name}" if path else name).items()
    }


def _change(row_a: dict[str, Any], row_b: dict[str, Any]) -> dict[str, Any]:
    a, b = row_a.get("student"), row_b.get("student")
    return {"a": a, "b": b, "change": None if a is None or b is None else round(b - a, 4)}
