"""The core's executors: in this process, or worker processes on this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from pydantic import Field

from collegium.component import Config
from collegium.job import StageEvent, StageJob, StageOutcome
from collegium.kinds.executor import Executor, Listener

STOPPED = "Stopped"
"""The outcome's `kind` when the run stopped the worker."""


class InProcessExecutor(Executor):
    """Run stages one after another in the run's own process."""

    def execute(self, job: StageJob, listener: Listener) -> StageOutcome:
        """Run the job here."""
        from collegium.worker import run_guarded

        return run_guarded(job, listener)


class LocalConfig(Config):
    """Options of the executor `local`."""

    workers: int = Field(default=2, ge=1)
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
        outcome = self._follow(channel, listener)
        code = process.wait()
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
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
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
    def _follow(channel: int, listener: Listener) -> StageOutcome | None:
        outcome = None
        with open(channel, encoding="utf-8") as lines:
            for line in lines:
                message = json.loads(line)
                if "outcome" in message:
                    outcome = StageOutcome.model_validate(message["outcome"])
                else:
                    listener(StageEvent.model_validate(message["event"]))
        return outcome

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
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
