"""Run a toy job on several ranks, for tests: ``python -m collegium.testing.ranks JOB.json`` is one of them."""

from __future__ import annotations

import sys
from pathlib import Path

from collegium.job import StageEvent, StageJob, StageOutcome
from collegium.ranks import run_as_rank, run_ranks
from collegium.testing.stages import toy_registry
from collegium.training.execute import run_job
from collegium.worker import die_with_parent


def run_toy_ranks(job: StageJob, events: list[StageEvent] | None = None) -> StageOutcome:
    """Run a job on the ranks that its `launch` says, on the toy domain."""
    return run_ranks(job, (events if events is not None else []).append, __name__)


if __name__ == "__main__":
    die_with_parent()
    run_as_rank(Path(sys.argv[1]), lambda job, listener: run_job(job, toy_registry(), listener))
