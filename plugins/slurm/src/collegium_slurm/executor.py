"""The executor `slurm`: each stage is a batch job.

Submission is by sbatch itself, not by a library that ships pickled functions: a stage job is plain JSON and its worker
a command, so a job is one short script that can be read, and submitted by hand, where something is wrong.
"""

from __future__ import annotations

import contextlib
import secrets
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from collegium import CollegiumError, Executor
from collegium.builtin_components.executors import STOPPED
from collegium.job import StageEvent, StageJob, StageOutcome
from collegium.kinds.executor import Listener
from collegium_slurm import commands
from collegium_slurm.commands import ENDED, Busy, JobState
from collegium_slurm.config import SlurmConfig
from collegium_slurm.ending import Ending, ending
from collegium_slurm.events import RANK_DIED, EventFile, cause_elsewhere
from collegium_slurm.script import arguments, script

FOLDER = "slurm"
CURRENT = "current.txt"
"""Holds the id of the job that a run submitted last: a resume ends it before it starts another."""
LEASE = "followed.txt"
"""Touched while a run follows the job."""
GRACE_S = 20.0
"""Seconds that a job may take to leave the queue after its outcome."""


class SlurmExecutor(Executor):
    """Submit each stage as a job, follow its events, and submit it again when it was lost."""

    Config = SlurmConfig

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self._guard = threading.Lock()
        self._jobs: set[str] = set()
        self._closed = threading.Event()

    @property
    def slots(self) -> int:
        """Stages that are submitted at once."""
        commands.require_slurm()
        return int(self.config.parallel)

    def execute(self, job: StageJob, listener: Listener) -> StageOutcome:
        """Run one job to its end; a failure is an outcome."""
        started = time.monotonic()
        try:
            commands.require_slurm()
            return self._persist(job, listener, started)
        except CollegiumError as error:
            return _failed(job, type(error).__name__, str(error), time.monotonic() - started, error.owner)

    def _persist(self, job: StageJob, listener: Listener, started: float) -> StageOutcome:
        folder = Path(job.directory) / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        self._end_earlier(job, folder, listener)
        retries, submitted = self.config.retries, 1
        ended = self._attempt(job, folder, listener)
        while isinstance(ended, Ending) and ended.again and submitted <= retries:
            again = f"submitted again, from its last checkpoint ({submitted} of {retries})"
            listener(StageEvent(stage=job.id, kind="message", text=f"{ended.text}; {again}"))
            ended, submitted = self._attempt(job, folder, listener), submitted + 1
        if isinstance(ended, StageOutcome):
            return ended
        times = f"after {submitted} submissions: " if submitted > 1 else ""
        return _failed(job, ended.kind, times + ended.text, time.monotonic() - started)

    def _end_earlier(self, job: StageJob, folder: Path, listener: Listener) -> None:
        """End the job of an earlier run that was killed: two must not write to one folder."""
        with contextlib.suppress(FileNotFoundError):
            identity = (folder / CURRENT).read_text(encoding="utf-8").strip()
            if self._state(identity).name in ("", *ENDED):
                return
            listener(StageEvent(stage=job.id, kind="message", text=f"ends Slurm job {identity} of the earlier run"))
            while self._state(identity).name not in ("", *ENDED) and not self._closed.is_set():
                commands.cancel(identity)
                self._closed.wait(self.config.poll_s)

    def _attempt(self, job: StageJob, parent: Path, listener: Listener) -> StageOutcome | Ending:
        folder = Path(tempfile.mkdtemp(dir=parent, prefix="job-"))
        folder.chmod(0o755)
        (folder / "job.json").write_text(job.model_dump_json(indent=1), encoding="utf-8")
        (parent / LEASE).touch()
        (folder / "job.sh").write_text(script(job, self.config, folder, parent / LEASE), encoding="utf-8")
        name = f"collegium-{job.id}-{secrets.token_hex(4)}"
        identity = ""
        try:
            identity = self._submit(job, folder, name)
            if not identity:
                return _stopped(job)
            (parent / CURRENT).write_text(identity, encoding="utf-8")
            listener(StageEvent(stage=job.id, kind="message", text=f"submitted to Slurm as job {identity}"))
            events = EventFile(folder / "events-0.jsonl")
            ended = self._follow(job, identity, folder, events, listener)
            _tell_unreadable(job, events, listener)
            return ended
        except BaseException:  # an interrupt, or a listener's error: the job must not go on unattended
            commands.cancel(identity or f"--name={name}")
            raise
        finally:
            with self._guard:
                self._jobs.discard(identity)

    def _submit(self, job: StageJob, folder: Path, name: str) -> str:
        """Submit, once the controller answers; return the job's id, or nothing when the executor is closed."""
        asked = arguments(job, self.config.of_stage(job.id), name, folder)
        while True:
            with self._guard:
                if self._closed.is_set():
                    return ""
                try:
                    # A submission that got no answer may have been taken all the same.
                    identity = commands.find(name) or commands.submit(str(folder / "job.sh"), asked)
                    self._jobs.add(identity)
                    return identity
                except Busy:
                    pass
            self._closed.wait(self.config.poll_s)

    def _follow(
        self, job: StageJob, identity: str, folder: Path, events: EventFile, listener: Listener
    ) -> StageOutcome | Ending:
        """Pass on events until the outcome is there, or the job has ended without one."""
        told = ""
        settled: float | None = None
        while True:
            state = self._state(identity)  # before the events: what it wrote before its end is read after
            outcome = _pass_on(events, listener)
            if self._closed.is_set():
                return _stopped(job)
            if outcome is not None:
                self._leave(identity)
                return self._judge(identity, folder, outcome)
            told = _tell(job, state, told, listener)
            if state.name in ("", *ENDED):
                settled = settled or time.monotonic() + self.config.settle_s
                if _is_final(state) or time.monotonic() > settled:
                    return ending(identity, state, folder / "log.txt", str(folder))
            (folder.parent / LEASE).touch()
            self._closed.wait(self.config.poll_s)

    def _judge(self, identity: str, folder: Path, outcome: StageOutcome) -> StageOutcome | Ending:
        found = cause_elsewhere(folder, outcome)
        if found.kind == RANK_DIED:
            return Ending(RANK_DIED, f"Slurm job {identity}: {found.problem}", again=True)
        return found

    def _state(self, identity: str) -> JobState:
        """Return a job's state; while the controller does not answer, the job counts as running."""
        try:
            return commands.state_of(identity)
        except Busy:
            return JobState("RUNNING")

    def _leave(self, identity: str) -> None:
        """Wait until a job that has reported its outcome is out of the queue; end it if it stays."""
        deadline = time.monotonic() + GRACE_S
        while self._state(identity).name not in ("", *ENDED):
            if time.monotonic() > deadline or self._closed.is_set():
                commands.cancel(identity)
                return
            self._closed.wait(min(self.config.poll_s, 1.0))

    def close(self) -> None:
        """Cancel the jobs that still wait or run."""
        self._closed.set()
        with self._guard:
            jobs = sorted(self._jobs)
        if jobs:
            commands.cancel(*jobs)


def _pass_on(events: EventFile, listener: Listener) -> StageOutcome | None:
    for message in events.fresh():
        if isinstance(message, StageOutcome):
            return message
        listener(message)
    return None


def _tell(job: StageJob, state: JobState, told: str, listener: Listener) -> str:
    """Say once when a job waits, and when it runs and where; return what was said last."""
    words = {"PENDING": "waits", "RUNNING": "runs on"}.get(state.name)
    if words is None or not state.detail or state.name == told:
        return told
    listener(StageEvent(stage=job.id, kind="message", text=f"{words} {state.detail}"))
    return state.name


def _tell_unreadable(job: StageJob, events: EventFile, listener: Listener) -> None:
    if events.unreadable:
        text = f"lines of {events.path} that are no event and were skipped: {events.unreadable}; is its disk full?"
        listener(StageEvent(stage=job.id, kind="message", text=text))


def _is_final(state: JobState) -> bool:
    """Whether nothing more is to come: a job that ended well has an outcome, which may take time to be seen."""
    return state.name in ENDED and state.name != "COMPLETED" and state.name != "FAILED"


def _stopped(job: StageJob) -> StageOutcome:
    return _failed(job, STOPPED, "the run stopped it; its last checkpoint is kept", 0.0)


def _failed(job: StageJob, kind: str, problem: str, seconds: float, owner: str | None = None) -> StageOutcome:
    return StageOutcome(stage=job.id, status="failed", seconds=seconds, kind=kind, problem=problem, owner=owner)
