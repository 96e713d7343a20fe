"""The batch script of one job, and its arguments for sbatch.

One task per node starts the worker that the executor `local` starts too. Its events go to a file per node in the job's
folder. On several nodes torchrun's rendezvous is told through ``COLLEGIUM_MASTER`` and ``COLLEGIUM_NODE_RANK``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from shlex import quote

from collegium.job import StageJob
from collegium_slurm.config import Request, SlurmConfig

NOT_SHARED = 66
"""Exit code of a script whose node does not see the run's folder."""
WATCH_S = 60
"""Seconds between a job's looks at whether its run is still there."""
FIRST_PORT, PORTS = 20000, 20000


def nodes_of(job: StageJob) -> int:
    """Return how many nodes a job needs; one that only evaluates needs one."""
    return job.launch.nodes if job.train else 1


def arguments(job: StageJob, request: Request, name: str, folder: Path) -> list[str]:
    """Return sbatch's arguments for a job whose script, events and log lie in `folder`."""
    processes = job.launch.processes if job.train else 1
    stated = {
        "partition": request.partition,
        "account": request.account,
        "time": request.time_minutes,
        "gpus-per-node": request.gpus_per_node,
        "mem": None if request.memory_gb is None else f"{request.memory_gb}G",
    }
    return [
        f"--job-name={name}",
        f"--nodes={nodes_of(job)}",
        "--ntasks-per-node=1",
        f"--cpus-per-task={request.cpus_per_task or job.threads * processes}",
        "--no-requeue",  # the executor submits it again, and says so
        f"--chdir={os.getcwd()}",
        f"--output={str(folder / 'log.txt').replace('%', '%%')}",
        "--open-mode=append",
        *(f"--{option}={value}" for option, value in stated.items() if value is not None),
        *request.extra,
    ]


def script(job: StageJob, config: SlurmConfig, folder: Path, lease: Path) -> str:
    """Return the text of the batch script.

    Args:
        job: The job; its JSON lies in ``folder/job.json``.
        config: The executor's options.
        folder: Where events and log go.
        lease: The file that the run touches while it follows the job.
    """
    worker = f"{quote(config.python or sys.executable)} -u -m collegium.worker {quote(str(folder / 'job.json'))} 3"
    several = nodes_of(job) > 1
    parts = [
        "#!/bin/bash",
        f"cd {quote(os.getcwd())} && test -r {quote(str(folder / 'job.json'))} || exit {NOT_SHARED}",
        *([_watch(lease, config.abandoned_minutes)] if config.abandoned_minutes else []),
        *config.setup,
        f"export OMP_NUM_THREADS={job.threads} TOKENIZERS_PARALLELISM=false",
        *(_rendezvous() if several else []),
        _on_each_node(worker, folder) if several else f"exec 3>>{quote(str(folder / 'events-0.jsonl'))}\nexec {worker}",
    ]
    return "\n".join(parts) + "\n"


def _watch(lease: Path, minutes: int) -> str:
    """Return a line that cancels the job from its first node once the run has not touched its file for so long."""
    fresh = f'[ -n "$(find {quote(str(lease))} -mmin -{minutes} 2>/dev/null)" ]'
    return f'( while sleep {WATCH_S}; do {fresh} || scancel "$SLURM_JOB_ID"; done ) </dev/null >/dev/null 2>&1 &'


def _rendezvous() -> list[str]:
    """Return lines that name the first node, where the script runs, and a port that follows from the job's id."""
    return [
        'export MASTER_ADDR="${SLURMD_NODENAME:-$(hostname)}"',
        f"export MASTER_PORT=$(({FIRST_PORT} + SLURM_JOB_ID % {PORTS}))",
        'export COLLEGIUM_MASTER="$MASTER_ADDR:$MASTER_PORT"',
    ]


def _on_each_node(worker: str, folder: Path) -> str:
    events = quote(str(folder / "events-"))
    task = (
        'export COLLEGIUM_NODE_RANK="$SLURM_NODEID" NODE_RANK="$SLURM_NODEID"\n'
        f'exec 3>>{events}"$SLURM_NODEID".jsonl\nexec {worker}'
    )
    return f"exec srun --ntasks-per-node=1 --kill-on-bad-exit=1 bash -c {quote(task)}"
