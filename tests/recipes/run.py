"""Run the lab profile of the recipes, one after the other, and print the README's table.

``python -m tests.recipes.run [NAME ...] [--out DIR] [--record]`` runs; with ``--record`` each recipe's figures are
written to ``results/`` and into the README. ``--table`` prints the table of the recorded results alone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.recipes.execute import ROOT, run_recipe
from tests.recipes.record import (
    FINISHED,
    RESULTS,
    figures_of,
    make_record,
    read_records,
    recipe_digest,
    recipes,
    write_record,
)
from tests.recipes.table import MARKS, sentence, table, write_readme


def main(arguments: Sequence[str]) -> int:
    """Run, print and record; 1 where a run failed, a figure is missing, or one does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="recipes, by the name of their file; default all")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "recipes", help="folder of the runs")
    parser.add_argument("--record", action="store_true", help="write results/NAME.json and the README's table")
    parser.add_argument("--table", action="store_true", help="print the table of the recorded results; run nothing")
    options = parser.parse_args(arguments)
    if options.table:
        print(recorded_table())
        return 0
    found = [_one(path, options.out.resolve(), record=options.record) for path in chosen(options.names)]
    print(table({record["recipe"]: record for record in found}, {r["recipe"]: r.get("digest", "") for r in found}))
    if options.record:
        write_readme(recorded_table(), MARKS)
    return 1 if any(map(problems, found)) else 0


def chosen(names: Sequence[str]) -> list[Path]:
    """Return the recipes of these names; all of them for none."""
    every = recipes()
    if unknown := sorted(set(names) - set(every)):
        sys.exit(f"no recipe {unknown[0]!r}; there are {', '.join(every)}")
    return [path for name, path in every.items() if not names or name in names]


def _one(path: Path, out: Path, *, record: bool) -> dict[str, Any]:
    print(f"{path.stem}: runs; output in {out / path.stem}.log", flush=True)
    made = make_record(path, run_recipe(path, out / path.stem))
    if record:
        write_record(made)
    for figure in figures_of(made):
        print(f"    {figure.verdict:<14} {figure.kind}: {sentence(figure)}", flush=True)
    for problem in problems(made):
        print(f"    error: {problem}", file=sys.stderr, flush=True)
    return made


def problems(record: dict[str, Any]) -> list[str]:
    """Say what is wrong with a record."""
    if record["status"] not in FINISHED:
        return [record["problem"]]
    wrong = [each for each in figures_of(record) if each.verdict not in ("holds", "reported")]
    return [f"{each.kind}: {each.stage}: {each.verdict} {each.note}".rstrip() for each in wrong]


def recorded_table() -> str:
    """Return the table of the recorded results, a row for every recipe that there is."""
    return table(read_records(RESULTS), {name: recipe_digest(path) for name, path in recipes().items()})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
