"""What is kept of a recipe's run: plain figures, in ``results/NAME.json``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from collegium.kinds.data_files import VARIABLE
from collegium.planning.fingerprint import digest
from collegium.recipe import load_recipe
from collegium.running.directory import LOCK
from collegium.store import read_object
from tests.recipes import thresholds
from tests.recipes.execute import PROFILE, ROOT, Executed
from tests.recipes.figures import Figure, figures
from tests.recipes.finished import FinishedRun, read_run

SCHEMA = 1
RESULTS = Path(__file__).parent / "results"
FINISHED = ("completed", "cached")


def recipes() -> dict[str, Path]:
    """Return the project's recipes by name."""
    return {path.stem: path for path in sorted((ROOT / "recipes").glob("*.yaml"))}


def recipe_digest(path: Path) -> str:
    """Return the digest of a recipe as the lab profile resolves it: a comment, or another profile, changes nothing."""
    return digest(load_recipe(path, profile=PROFILE).resolved)


def make_record(recipe: Path, executed: Executed) -> dict[str, Any]:
    """Return the record of a run, whether it completed or not."""
    head = {"schema": SCHEMA, "recipe": recipe.stem, "profile": PROFILE, "real_data": has_real_data()}
    if executed.problem:
        return {**head, "status": "failed", "problem": executed.problem}
    lock = read_object(executed.directory / LOCK)
    return {**head, "digest": lock["recipe"]["digest"], **_content(read_run(executed.directory))}


def _content(run: FinishedRun) -> dict[str, Any]:
    report, first = run.report, run.first_seconds
    return {
        "status": report["status"],
        "seed": report["seed"],
        "seconds": {"stages": round(sum(first.values()), 1), "wall": round(report["seconds"], 1)},
        "rollouts": report["rollouts"],
        "tokens_generated": report["tokens_generated"],
        "stages": [
            {"id": entry["id"], "use": entry["use"], "status": entry["status"], "seconds": round(first[entry["id"]], 1)}
            for entry in report["stages"]
        ],
        "thresholds": thresholds.as_record(),
        "figures": [_rounded(each.as_record()) for each in figures(run)],
    }


def _rounded(value: Any) -> Any:
    """Round every float of a record, so that its text is short."""
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    return float(f"{value:.6g}") if isinstance(value, float) else value


def has_real_data() -> bool:
    """Say whether the task sources find the real data."""
    return bool(os.environ.get(VARIABLE)) or (ROOT.parent / "shared" / "data").is_dir()


def write_record(record: dict[str, Any], folder: Path = RESULTS) -> None:
    """Write a record, one figure a line in a difference."""
    folder.mkdir(exist_ok=True)
    (folder / f"{record['recipe']}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def read_records(folder: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """Return every record by recipe."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def figures_of(record: dict[str, Any]) -> list[Figure]:
    """Return a record's figures."""
    return [Figure(**each) for each in record.get("figures", [])]
