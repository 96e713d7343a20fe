"""The worker: one stage job in a process of its own.

``python -m collegium.worker JOB.json FD`` writes one JSON line per event, and the outcome last, to the descriptor FD.
Started by torchrun, ``python -m collegium.worker JOB.json`` is one of the job's ranks (see `collegium.ranks`).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from collegium.errors import CollegiumError
from collegium.exit_guard import exit_refused
from collegium.job import StageEvent, StageJob, StageOutcome
from collegium.plugins.registry import Registry
from collegium.ranks import PARENT, rank_of, run_as_rank, run_ranks

PR_SET_PDEATHSIG = 1


def run_guarded(job: StageJob, listener: Callable[[StageEvent], None]) -> StageOutcome:
    """Run a job; whatever goes wrong becomes a failed outcome with its owner. Its ranks, if it has any, are started."""
    if job.train and job.launch.strategy != "single" and rank_of(os.environ) is None:
        return run_ranks(job, listener)
    try:
        from collegium.training.execute import run_job
    except ModuleNotFoundError as error:
        problem = f"{error}; training needs the extra: pip install 'collegium[train]'"
        return StageOutcome(stage=job.id, status="failed", seconds=0, kind="PluginNotFound", problem=problem)
    try:
        with exit_refused():
            return run_job(job, Registry.discover(job.blocked), listener)
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        owner = error.owner if isinstance(error, CollegiumError) else None
        problem = str(error) if isinstance(error, CollegiumError) else f"{type(error).__name__}: {error}"
        return StageOutcome(
            stage=job.id, status="failed", seconds=0, kind=type(error).__name__, problem=problem, owner=owner
        )


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the one that started it dies, however it dies (Linux).

    The starter may be dead before this is asked: where it left its number in `PARENT`, that is noticed.
    """
    parent = int(os.environ.pop(PARENT, os.getppid()))
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def main(job_path: str, descriptor: str = "") -> NoReturn:
    """Run the job in a file, and end the process; the exit code is 0 whenever an outcome was written."""
    die_with_parent()
    if rank_of(os.environ) is not None:
        run_as_rank(Path(job_path), run_guarded)
    job = StageJob.model_validate_json(Path(job_path).read_text(encoding="utf-8"))
    guard = threading.Lock()
    with open(int(descriptor), "w", encoding="utf-8", buffering=1) as channel:

        def say(name: str, body: str) -> None:
            with guard:
                channel.write(f'{{"{name}": {body}}}\n')

        outcome = run_guarded(job, lambda event: say("event", event.model_dump_json()))
        say("outcome", outcome.model_dump_json())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # a thread that a plugin left behind must not keep the worker alive


if __name__ == "__main__":
    main(*sys.argv[1:])
