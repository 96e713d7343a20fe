"""Slurm's commands: sbatch, squeue, sacct, scancel; what they print, and what their errors mean."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from collegium import PluginError
from collegium_slurm.config import OWNER

LIMIT_S = 120.0
"""Seconds that a command may take; a busy controller answers late."""
NEEDED = ("sbatch", "squeue", "scancel")
BUSY = (
    "unable to contact slurm controller",
    "socket timed out",
    "temporarily unable",
    "connection refused",
    "try again",
)
"""Words of an error that will pass."""
KEPT = ("SLURM_CONF", "SLURM_TIME_FORMAT")
"""Variables of an enclosing Slurm job that its own submissions need."""


@dataclass(frozen=True, slots=True)
class JobState:
    """What Slurm says of a job."""

    name: str
    """Such as ``PENDING``, ``RUNNING``, ``NODE_FAIL``; empty when Slurm does not know the job."""
    detail: str = ""
    """Its nodes, or why it waits."""
    code: int | None = None
    """Its exit code; None where no accounting tells."""
    signal: int = 0
    """The signal that ended it."""


class Busy(Exception):
    """Slurm did not answer this time."""


def require_slurm() -> None:
    """Check that Slurm's commands are here.

    Raises:
        PluginError: If one is missing.
    """
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        raise PluginError(
            f"the executor slurm needs the commands {', '.join(NEEDED)}; {', '.join(missing)} not found on PATH",
            fix="run on a login node of the cluster, or use the executor local",
            owner=OWNER,
        )


def submit(script: str, arguments: Sequence[str]) -> str:
    """Submit a script and return the job's id.

    Raises:
        Busy: If Slurm did not answer; the job may have been taken all the same (see `find`).
        PluginError: If it refuses the job.
    """
    done = _run(["sbatch", "--parsable", *arguments, script], _surroundings(os.environ))
    if done.returncode:
        raise PluginError(
            f"sbatch refused the job: {_said(done)}",
            fix="check partition, account and what the stage asks for (executor.per_stage); sinfo shows what there is",
            owner=OWNER,
        )
    identity = done.stdout.strip().splitlines()[-1].partition(";")[0] if done.stdout.strip() else ""
    if not identity.isdigit():
        raise PluginError(f"sbatch printed {done.stdout!r}, expected a job's number", owner=OWNER)
    return identity


def find(name: str) -> str | None:
    """Return the id of the job of that name, if Slurm has it."""
    done = _run(["squeue", "--noheader", "--states=all", "--format=%A", f"--name={name}"])
    return done.stdout.split()[0] if done.returncode == 0 and done.stdout.split() else None


def state_of(identity: str) -> JobState:
    """Return a job's state: from the queue, else from the accounting.

    Raises:
        Busy: If the queue could not be asked.
    """
    done = _run(["squeue", "--noheader", "--states=all", "--format=%T|%R", f"--jobs={identity}"])
    if done.returncode and "invalid job id" not in done.stderr.lower():
        raise Busy(_said(done))
    name, _, detail = done.stdout.strip().partition("|")
    queued = JobState(name, detail) if done.returncode == 0 and name else JobState("")
    if name in ("", *ENDED):  # only the accounting knows how it ended
        return _accounted(identity) or queued
    return queued


def _accounted(identity: str) -> JobState | None:
    """Return what the accounting knows of a job; None where there is none, or it has not heard of the job."""
    if shutil.which("sacct") is None:
        return None
    columns = ["--noheader", "--allocations", "--parsable2", "--format=State,ExitCode"]
    done = _run(["sacct", *columns, f"--jobs={identity}"])
    line = done.stdout.strip().splitlines()[-1] if done.returncode == 0 and done.stdout.strip() else ""
    state, _, exit_code = line.partition("|")
    code, _, signal = exit_code.partition(":")
    name = state.split()[0].rstrip("+") if state else ""  # "CANCELLED by 1000"
    if name not in ENDED or not code.isdigit() or not signal.isdigit():  # not told yet: it learns of an end late
        return None
    of_shell = int(code) - 128 if int(code) > 128 else 0
    return JobState(name, "", int(code), int(signal) or of_shell)


def cancel(*arguments: str) -> None:
    """Cancel jobs, by id or ``--name=``; one that is over already is no error, nor is a controller that is busy."""
    with contextlib.suppress(Busy):
        _run(["scancel", *arguments])


ENDED = (
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED",
    "TIMEOUT",
)  # fmt: skip
"""States that a job does not leave."""


def _run(command: list[str], environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=LIMIT_S,
            env=environment, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Busy(f"{command[0]} did not answer within {LIMIT_S:.0f} s") from None
    if done.returncode and any(word in done.stderr.lower() for word in BUSY):
        raise Busy(_said(done))
    return done


def _said(done: subprocess.CompletedProcess[str]) -> str:
    return " | ".join(done.stderr.strip().splitlines()[-3:]) or f"exit code {done.returncode}"


def _surroundings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment that a job inherits: without what an enclosing Slurm job says of itself."""
    inside = "SLURM_JOB_ID" in environment
    return {
        name: value
        for name, value in environment.items()
        if not (inside and name.startswith("SLURM_") and name not in KEPT)
    }
