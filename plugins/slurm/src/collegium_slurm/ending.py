"""How a job ended that left no outcome: whether it is worth another try, and what to tell."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from collegium_slurm.commands import JobState
from collegium_slurm.script import NOT_SHARED

TAIL = 2**13
WORTH_ANOTHER = ("BOOT_FAIL", "NODE_FAIL", "PREEMPTED", "TIMEOUT")
"""States that say nothing against the stage."""
WORDS = {
    "BOOT_FAIL": "its node did not boot",
    "CANCELLED": "it was cancelled from outside",
    "DEADLINE": "it was ended at its deadline",
    "NODE_FAIL": "its node failed",
    "OUT_OF_MEMORY": "it used more memory than it had asked for; ask for more (memory_gb)",
    "PREEMPTED": "it was preempted",
    "TIMEOUT": "it reached its time limit",
}


@dataclass(frozen=True, slots=True)
class Ending:
    """How a job ended without an outcome."""

    kind: str
    text: str
    again: bool
    """Whether to submit it again."""


def ending(identity: str, state: JobState, log: Path, node_hint: str) -> Ending:
    """Judge a job that left no outcome."""
    known = state.name in WORDS
    how = WORDS.get(state.name) or _unknown(state, node_hint)
    kind = "".join(part.capitalize() for part in state.name.split("_")) if known else "WorkerDied"
    died = not known and (bool(state.signal) or state.code is None)
    again = state.name in WORTH_ANOTHER or died
    text = f"Slurm job {identity} ended ({state.name or 'unknown to Slurm'}): {how}"
    return Ending(kind, text if state.name in WORTH_ANOTHER else text + _tail(log), again)


def _unknown(state: JobState, folder: str) -> str:
    if state.signal:
        return f"its worker was killed by signal {state.signal}"
    if state.code == NOT_SHARED:
        return (
            f"its node does not see the run's folder {folder!r}, or the working directory; both must lie on a file "
            "system that every node mounts at the same path (--out DIR)"
        )
    if state.name == "COMPLETED":
        return f"it left no outcome in {folder!r}; is this folder on a file system that every node shares?"
    if state.code is None:
        return "it left no outcome, and no accounting says how it ended"
    return f"it exited with code {state.code} and without an outcome"


def _tail(log: Path) -> str:
    try:
        with open(log, "rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL))
            lines = file.read().decode("utf-8", "replace").strip().splitlines()[-5:]
    except OSError:
        return f"; it has no log at {log}"
    return f"; the end of {log}: " + " | ".join(lines)
