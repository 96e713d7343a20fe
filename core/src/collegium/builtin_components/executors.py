"""The core's executors: in this process, or worker processes on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from pydantic import Field

from collegium.job import StageEvent, StageJob, StageOutcome
from collegium.kinds.executor import Executor, ExecutorConfig, Listener
from collegium.log_files import bound_log
from collegium.ranks import PARENT, RANK_MARK

POLL_S = 0.5
"""Seconds after which a silent worker is looked at."""
GRACE_S = 20.0
"""Seconds that a worker may take to end after its outcome."""
STOPPED = "Stopped"
"""The outcome's `kind` when the run stopped the worker."""


class InProcessExecutor(Executor):
    """Run stages one after another in the run's own process."""

    def execute(self, job: StageJob, listener: Listener) -> StageOutcome:
        """Run the job here."""
        from collegium.worker import run_guarded

        return run_guarded(job, listener)


class LocalConfig(ExecutorConfig):
    """Options of the executor `local`."""

    workers: int = Field(default=2, ge=1, le=1024)
    """Stages that run at once."""


class LocalExecutor(Executor):
    """Run each stage in a worker process of its own; independent stages side by side."""

    Config = LocalConfig

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._guard = threading.Lock()
        self._closed = False

    @property
    def slots(self) -> int:
        """Stages that run at once."""
        return int(self.config.workers)

    def execute(self, job: StageJob, listener: Listener) -> StageOutcome:
        """Start a worker, pass on its events, and return its outcome; a worker that dies is a failed outcome."""
        started = time.monotonic()
        folder = Path(job.directory)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "job.json"
        path.write_text(job.model_dump_json(indent=1), encoding="utf-8")
        process, channel = self._start(path, folder / "worker.log", job.threads)
        outcome = self._follow(process, channel, folder / "worker.log", listener)
        code = self._end(process, had_outcome=outcome is not None)
        with self._guard:
            self._processes.discard(process)
        path.unlink(missing_ok=True)
        if outcome is not None:
            return outcome
        kind, problem = self._cause(code, folder / "worker.log")
        seconds = time.monotonic() - started
        return StageOutcome(stage=job.id, status="failed", seconds=seconds, kind=kind, problem=problem)

    def _start(self, path: Path, log: Path, threads: int) -> tuple[subprocess.Popen[bytes], int]:
        read_end, write_end = os.pipe()
        outer = {name: value for name, value in os.environ.items() if name != RANK_MARK}  # this is no rank of theirs
        own = {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false", PARENT: str(os.getpid())}
        environment = {**outer, **own}
        with self._guard, open(log, "ab") as output:
            if self._closed:
                raise RuntimeError("the executor is closed")
            process = subprocess.Popen(
                [sys.executable, "-m", "collegium.worker", str(path), str(write_end)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(write_end,),
                start_new_session=True,
                env=environment,
            )
            self._processes.add(process)
        os.close(write_end)
        return process, read_end

    @staticmethod
    def _follow(process: subprocess.Popen[bytes], channel: int, log: Path, listener: Listener) -> StageOutcome | None:
        """Pass on events until the outcome comes or the worker has ended: a child of its may hold the channel open."""
        buffer = b""
        try:
            while True:
                ready, _, _ = select.select([channel], [], [], POLL_S)
                bound_log(log)
                chunk = os.read(channel, 1 << 16) if ready else b""
                if not chunk and (ready or process.poll() is not None):
                    return None
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in lines:
                    message = json.loads(line)
                    if "outcome" in message:
                        return StageOutcome.model_validate(message["outcome"])
                    listener(StageEvent.model_validate(message["event"]))
        finally:
            os.close(channel)

    @staticmethod
    def _end(process: subprocess.Popen[bytes], *, had_outcome: bool) -> int:
        """Wait for the worker, then kill what is left of its session."""
        try:
            code = process.wait(timeout=GRACE_S if had_outcome else None)
        except subprocess.TimeoutExpired:
            code = 0
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return code

    def _cause(self, code: int, log: Path) -> tuple[str, str]:
        if self._closed:
            return STOPPED, "the run stopped it; its last checkpoint is kept"
        how = f"was killed by signal {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
        tail = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-5:]
        return "WorkerDied", f"its worker {how}; the end of {log}: " + " | ".join(tail)

    def close(self) -> None:
        """Kill the workers that still run, with all that they started."""
        with self._guard:
            self._closed = True
            running = list(self._processes)
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
