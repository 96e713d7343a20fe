"""The ranks of a job: started with torchrun, watched, and their outcomes made into one.

A rank runs the job like a worker of its own and writes its events and its outcome to a file in the job's folder, which
all machines share; only the first rank has something to tell before the end. When one fails, torchrun ends the others.

On several machines one worker per machine starts that machine's ranks. They find each other at ``COLLEGIUM_MASTER``
(``host:port`` of the first machine) through torchrun's rendezvous; ``COLLEGIUM_NODE_RANK`` is the machine's number.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import runpy
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NoReturn, TypeAlias

from collegium.job import StageEvent, StageJob, StageOutcome
from collegium.log_files import bound_log

Listener: TypeAlias = Callable[[StageEvent], None]

FOLDER = "ranks"
LOG = "log.txt"
PARENT = "COLLEGIUM_PARENT"
"""Environment variable with the number of the process that starts another one."""
RANK_MARK = "TORCHELASTIC_RUN_ID"
"""What torchrun sets in the environment of a rank."""
POLL_S = 0.2
"""Seconds between looks at the first rank's file."""
TAIL = 2**13
"""Bytes of a log's end that are looked at for the cause of a death."""
LOST = re.compile(r"connection (closed|reset)|broken pipe|remote process exited", re.IGNORECASE)
"""What a rank says that lost another one: then the one that said nothing is the cause."""


class RankFile:
    """What one rank tells: JSON Lines, events and, last, the outcome."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = 0

    def write(self, name: str, body: str) -> None:
        """Append one line."""
        with open(self.path, "a+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            torn = b"" if file.read(1) in (b"", b"\n") else b"\n"
            file.write(torn + f'{{"{name}": {body}, "time": {time.time()}}}\n'.encode())

    def fresh(self) -> Iterator[dict[str, object]]:
        """Yield the whole lines that were not read yet."""
        with contextlib.suppress(FileNotFoundError), open(self.path, "rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._read += len(line)
                with contextlib.suppress(ValueError):  # half a line, of a disk that was full: the next is whole
                    found = json.loads(line)
                    if isinstance(found, dict):
                        yield found


def run_ranks(job: StageJob, listener: Listener, module: str = "collegium.worker") -> StageOutcome:
    """Start a job's ranks on this machine, pass on the first one's events, and return how it ended.

    Args:
        job: The job.
        listener: Told of every event.
        module: What each rank runs; its argument is the job's file.
    """
    started = time.monotonic()
    node, address = int(os.environ.get("COLLEGIUM_NODE_RANK", "0")), os.environ.get("COLLEGIUM_MASTER", "")
    if job.launch.nodes > 1 and not address:
        problem = (
            f"launch.nodes is {job.launch.nodes}, and this executor starts one machine; expected one that starts "
            "a worker on each, such as slurm, or COLLEGIUM_MASTER and COLLEGIUM_NODE_RANK in the environment"
        )
        return StageOutcome(stage=job.id, status="failed", seconds=0, kind="ConfigError", problem=problem)
    folder = Path(job.directory) / FOLDER / f"{node}-{secrets.token_hex(4)}"  # never one that others still write to
    folder.mkdir(parents=True)
    path = folder / "job.json"
    path.write_text(job.model_dump_json(), encoding="utf-8")
    with open(folder / LOG, "ab") as log:
        process = subprocess.Popen(
            _command(job, node, address, module, path),
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=_environment(job),
            start_new_session=True,
        )  # fmt: skip
        try:
            _follow(process, folder, listener)
        finally:
            for leader in (process.pid, *_sessions(folder)):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(leader, signal.SIGKILL)
            process.wait()
    outcome = _outcome(job, folder, process.returncode, time.monotonic() - started)
    if outcome.status == "completed":  # then what killed ones left behind goes, too
        shutil.rmtree(folder.parent if job.launch.nodes == 1 else folder, ignore_errors=True)
    return outcome


def _command(job: StageJob, node: int, address: str, module: str, path: Path) -> list[str]:
    launch = job.launch
    spread = ["--standalone"] if launch.nodes == 1 else [
        f"--node-rank={node}", "--rdzv-backend=static", f"--rdzv-endpoint={address}", f"--rdzv-id={job.id}"
    ]  # fmt: skip
    return [
        sys.executable, "-m", __name__,
        f"--nnodes={launch.nodes}", f"--nproc-per-node={launch.processes}", *spread, "--max-restarts=0",
        f"--log-dir={path.parent}",
        "-m", module, str(path),
    ]  # fmt: skip


def _environment(job: StageJob) -> dict[str, str]:
    own = {"OMP_NUM_THREADS": str(job.threads), "TOKENIZERS_PARALLELISM": "false", PARENT: str(os.getpid())}
    return {**os.environ, **own}


def _follow(process: subprocess.Popen[bytes], folder: Path, listener: Listener) -> None:
    """Pass on the first rank's events until torchrun ends, and keep the log of all ranks bounded."""
    first, running = RankFile(folder / "0.jsonl"), True
    while running:
        running = process.poll() is None
        bound_log(folder / LOG)
        for line in first.fresh():
            if "event" in line:
                listener(StageEvent.model_validate(line["event"]))
        if running:
            time.sleep(POLL_S)


def _sessions(folder: Path) -> list[int]:
    """Return the process groups of the ranks: torchrun gives each a session of its own, where its children live on."""
    lines = [line for path in folder.glob("[0-9]*.jsonl") for line in RankFile(path).fresh()]
    return [int(str(line["session"])) for line in lines if "session" in line]


def _outcome(job: StageJob, folder: Path, code: int, seconds: float) -> StageOutcome:
    """Return the first rank's outcome, or that of the rank that failed first."""
    found: list[tuple[float, StageOutcome]] = []
    silent = set(range(job.launch.processes))
    for path in sorted(folder.glob("[0-9]*.jsonl")):
        for line in RankFile(path).fresh():
            if "outcome" in line:
                silent -= {int(path.stem)}
                found.append((float(str(line["time"])), StageOutcome.model_validate(line["outcome"])))
    failed = sorted((pair for pair in found if pair[1].status == "failed"), key=lambda pair: pair[0])
    if failed and not (silent and LOST.search(failed[0][1].problem)):
        return failed[0][1]
    if code == 0 and not silent:
        return max((outcome for _, outcome in found), key=lambda outcome: len(outcome.metrics))
    log = folder / LOG
    tail = log.read_bytes()[-TAIL:].decode("utf-8", "replace").strip().splitlines()[-5:]
    problem = (
        f"of {job.launch.processes} ranks these ended without a word: {', '.join(map(str, sorted(silent))) or 'none'}; "
        f"torchrun exited with code {code}; the end of {log}: " + " | ".join(tail)
    )
    return StageOutcome(stage=job.id, status="failed", seconds=seconds, kind="RankDied", problem=problem)


def run_as_rank(path: Path, run: Callable[[StageJob, Listener], StageOutcome]) -> NoReturn:
    """Run the job in a file as one of its ranks; the exit code tells torchrun whether the others may go on."""
    job = StageJob.model_validate_json(path.read_text(encoding="utf-8"))
    file = RankFile(path.parent / f"{rank_of(os.environ)}.jsonl")
    file.write("session", str(os.getpid()))
    outcome = run(job, lambda event: file.write("event", event.model_dump_json()))
    file.write("outcome", outcome.model_dump_json())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0 if outcome.status == "completed" else 1)


def rank_of(environment: Mapping[str, str]) -> int | None:
    """Return this process's number on its machine if torchrun started it; None if it is no rank."""
    return int(environment["LOCAL_RANK"]) if RANK_MARK in environment else None


def _torchrun() -> None:
    """Be torchrun, but end with the worker that started it; the ranks end with torchrun in turn."""
    from collegium.worker import die_with_parent

    die_with_parent()
    runpy.run_module("torch.distributed.run", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _torchrun()
