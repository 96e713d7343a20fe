"""Test the papers' claims over seeds: ``python -m tests.claims.run [CLAIM ...] [--seeds 1 2 3] [--record]``.

Each variant's recipe runs once per seed (runs and stages that variants share are not repeated). ``--table`` prints the
table of the recorded results alone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from collegium.planning.fingerprint import digest
from tests.claims.claim import Claim, Variant, VariantRun
from tests.claims.report import MARKS, RESULTS, claim_digest, make_record, read_records, table, write_record
from tests.claims.specs import CLAIMS
from tests.recipes.execute import ROOT, run_recipe
from tests.recipes.finished import FigureMissing, read_run
from tests.recipes.table import write_readme


class RunFailed(RuntimeError):
    """A variant's run did not complete."""


def main(arguments: Sequence[str]) -> int:
    """Run, print and record; 1 where a run failed or a figure is missing. A claim that does not hold is a result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("claims", nargs="*", metavar="CLAIM", help=f"default all: {', '.join(CLAIMS)}")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "claims", help="folder of the runs")
    parser.add_argument("--record", action="store_true", help="write results/CLAIM.json and the README's table")
    parser.add_argument("--table", action="store_true", help="print the table of the recorded results; run nothing")
    options = parser.parse_args(arguments)
    if options.table:
        print(recorded_table())
        return 0
    if unknown := sorted(set(options.claims) - set(CLAIMS)):
        sys.exit(f"no claim {unknown[0]!r}; there are {', '.join(CLAIMS)}")
    chosen = [claim for name, claim in CLAIMS.items() if not options.claims or name in options.claims]
    found = {claim.name: _one(claim, options.seeds, options.out.resolve(), record=options.record) for claim in chosen}
    done = {name: record for name, record in found.items() if record}
    print(table(done, {name: (CLAIMS[name].says, record["digest"]) for name, record in done.items()}))
    if options.record:
        write_readme(recorded_table(), MARKS)
    return 0 if len(done) == len(found) else 1


def _one(claim: Claim, seeds: Sequence[int], out: Path, *, record: bool) -> dict[str, Any] | None:
    """Test a claim; None, with the reason printed, where that came to no end."""
    try:
        made = check(claim, seeds, out)
    except (RunFailed, FigureMissing) as error:
        print(f"{claim.name}: error: {error}", file=sys.stderr, flush=True)
        return None
    if record:
        write_record(made)
    return made


def check(claim: Claim, seeds: Sequence[int], out: Path) -> dict[str, Any]:
    """Run every variant with every seed and return the claim's record.

    Raises:
        RunFailed: If a run does not complete.
    """
    runs = {variant.name: [run_variant(variant, seed, out) for seed in seeds] for variant in claim.variants}
    return make_record(claim, seeds, runs)


def run_variant(variant: Variant, seed: int, out: Path) -> VariantRun:
    """Run a variant with a seed, in a folder that variants of the same recipe and overrides share."""
    folder = f"{variant.path.stem}-{digest([str(variant.recipe), variant.overrides])[:8]}"
    print(f"{variant.name}, seed {seed}: output in {out / folder / f'seed-{seed}'}.log", flush=True)
    executed = run_recipe(variant.path, out / folder / f"seed-{seed}", [f"seed={seed}", *variant.overrides])
    if executed.problem:
        raise RunFailed(f"{variant.name}, seed {seed}: {executed.problem}")
    return VariantRun(variant, executed.directory, read_run(executed.directory))


def recorded_table() -> str:
    """Return the table of the recorded results, a row for every claim that there is."""
    records = read_records(RESULTS)
    digests = {name: claim_digest(claim) if name in records else "" for name, claim in CLAIMS.items()}
    return table(records, {name: (claim.says, digests[name]) for name, claim in CLAIMS.items()})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
