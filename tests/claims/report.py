"""What came out of a claim: a record of plain figures, and its rows in the Markdown table."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from collegium.planning.fingerprint import digest
from collegium.recipe import load_recipe
from tests.claims.claim import Claim, VariantRun
from tests.claims.decide import compare, equal_budgets
from tests.claims.measures import BUDGETS, budget_of
from tests.recipes.execute import PROFILE

RESULTS = Path(__file__).parent / "results"
MARKS = ("<!-- claims:begin -->", "<!-- claims:end -->")
"""Where the README's table stands."""
HEAD = (
    "| claim | measured | by variant: mean ± deviation (seeds) | difference ± SE | verdict | budget |",
    "|---|---|---|---|---|---|",
)


def make_record(claim: Claim, seeds: Sequence[int], runs: Mapping[str, Sequence[VariantRun]]) -> dict[str, Any]:
    """Return a claim's record from the runs of its variants, in the order of the seeds."""
    budgets = {name: _mean_budget(found) for name, found in runs.items()}
    return {
        "claim": claim.name,
        "digest": claim_digest(claim),
        "seeds": list(seeds),
        "budget": {
            "count": claim.budget,
            "equal": equal_budgets([each[claim.budget] for each in budgets.values()]),
            "variants": budgets,
        },
        "minutes": round(_minutes(runs), 1),
        "measures": {name: _measured(claim, name, runs) for name in claim.measures},
    }


def claim_digest(claim: Claim) -> str:
    """Return the digest of the claim's recipes as their variants resolve them, and of what is compared."""
    resolved = [load_recipe(each.path, each.overrides, PROFILE).resolved for each in claim.variants]
    return digest(
        [resolved, [(each.name, each.stages, each.budget) for each in claim.variants], sorted(claim.measures)]
    )


def _mean_budget(runs: Sequence[VariantRun]) -> dict[str, float]:
    each = [budget_of(found) for found in runs]
    return {name: round(statistics.fmean(budget[name] for budget in each), 1) for name in BUDGETS}


def _minutes(runs: Mapping[str, Sequence[VariantRun]]) -> float:
    """Return the minutes of every stage, those that variants share counted once."""
    seconds = {
        entry["fingerprint"]: found.run.first_seconds[entry["id"]]
        for each in runs.values()
        for found in each
        for entry in found.run.report["stages"]
    }
    return sum(seconds.values()) / 60


def _measured(claim: Claim, name: str, runs: Mapping[str, Sequence[VariantRun]]) -> dict[str, Any]:
    values = {variant: [claim.measures[name](found) for found in each] for variant, each in runs.items()}
    first, *others = values
    compared = {other: compare(values[first], values[other], claim.least) for other in others}
    return {
        "values": {variant: [round(value, 6) for value in each] for variant, each in values.items()},
        "comparisons": {
            other: {
                "mean": round(found.mean, 6),
                "standard_error": round(found.standard_error, 6) if len(found.differences) > 1 else None,
                "verdict": found.verdict,
            }
            for other, found in compared.items()
        },
    }


def write_record(record: Mapping[str, Any], folder: Path = RESULTS) -> None:
    """Write a record."""
    folder.mkdir(exist_ok=True)
    (folder / f"{record['claim']}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def read_records(folder: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """Return every record by claim."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def table(records: Mapping[str, Mapping[str, Any]], claims: Mapping[str, tuple[str, str]]) -> str:
    """Return the table.

    Args:
        records: By claim.
        claims: Every claim that there is: what it says, and its digest as it stands.
    """
    rows = [row for name, (says, found) in claims.items() for row in _rows(records.get(name), says, found)]
    return "\n".join([*HEAD, *rows])


def _rows(record: Mapping[str, Any] | None, says: str, digest: str) -> Iterator[str]:
    if record is None:
        yield f"| {says} | | | | not tested yet | |"
        return
    stale = "" if record["digest"] == digest else " **(stale)**"
    for name, measured in record["measures"].items():
        for other, compared in measured["comparisons"].items():
            first = next(iter(measured["values"]))
            sides = "; ".join(f"{side} {_spread(measured['values'][side])}" for side in (first, other))
            error = compared["standard_error"]
            difference = f"{compared['mean']:+.3f}" + ("" if error is None else f" ± {error:.3f}")
            yield f"| {says}{stale} | {name} | {sides} | {difference} | {compared['verdict']} | {_budget(record)} |"
            says = stale = ""


def _spread(values: Sequence[float]) -> str:
    deviation = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3f}{deviation} ({', '.join(f'{value:.3f}' for value in values)})"


def _budget(record: Mapping[str, Any]) -> str:
    budget = record["budget"]
    counts = " and ".join(f"{each[budget['count']]:,.0f}" for each in budget["variants"].values())
    return f"{counts} {budget['count']}" + ("" if budget["equal"] else ": **not equal**")
