"""Slurm's commands on one machine: what the executor relies on of their contract, with real processes.

Run as ``sbatch``, ``squeue``, ``sacct``, ``scancel`` or ``srun`` (the name it is called by). State lies in files under
$STANDIN_SLURM: a folder per job, and switches: ``busy`` (the controller does not answer), ``no-accounting``,
``hold`` (jobs stay pending), ``forget`` (ended jobs leave the queue at once), ``lose-answer`` (sbatch takes the job, but
its answer gets lost).
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

PARTITIONS = ("cpu", "gpu")
ACTIVE = ("PENDING", "RUNNING", "COMPLETING")


class Standin:
    """The controller's state."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "jobs").mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        with open(self.root / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def switched(self, name: str) -> bool:
        return (self.root / name).exists()

    def ids(self) -> list[int]:
        return sorted(int(path.name) for path in (self.root / "jobs").iterdir())

    def job(self, identity: int) -> dict[str, Any]:
        return json.loads((self.root / "jobs" / str(identity) / "job.json").read_text())

    def write(self, identity: int, **changes: Any) -> None:
        folder = self.root / "jobs" / str(identity)
        path = folder / "job.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        (folder / ".new").write_text(json.dumps({**known, **changes}))
        os.replace(folder / ".new", path)

    def add(self, **facts: Any) -> int:
        with self.locked():
            identity = max(self.ids(), default=100) + 1
            (self.root / "jobs" / str(identity)).mkdir()
            self.write(identity, state="PENDING", code=0, signal=0, **facts)
        return identity

    def end(self, identity: int, state: str, code: int = 0, sent: int = 0) -> bool:
        """Give a job its last state, once, and kill all its processes, as the node's daemon does."""
        with self.locked():
            if self.job(identity)["state"] not in ACTIVE:
                return False
            self.write(identity, state=state, code=code, signal=sent)
        self.kill(identity)
        return True

    def kill(self, identity: int) -> None:
        for process in self.processes(identity):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def processes(self, identity: int) -> list[int]:
        """Return a job's processes: those that have its id in their environment (Slurm: its control group)."""
        marks = (f"SLURM_JOB_ID={identity}\0".encode(), f"STANDIN_SLURM={self.root}\0".encode())
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and all(mark in (entry / "environ").read_bytes() for mark in marks):
                    found.append(int(entry.name))
        return found

    def switch(self, name: str, on: bool = True) -> None:
        (self.root / name).touch() if on else (self.root / name).unlink()


def fail(command: str, text: str) -> NoReturn:
    print(f"{command}: error: {text}", file=sys.stderr)
    raise SystemExit(1)


def sbatch(standin: Standin, words: list[str]) -> None:
    parser = argparse.ArgumentParser("sbatch", allow_abbrev=False)
    for name in (
        "job-name", "nodes", "ntasks-per-node", "cpus-per-task", "chdir", "output", "open-mode", "partition", "account",
        "time", "gpus-per-node", "mem", "constraint",
    ):  # fmt: skip
        parser.add_argument(f"--{name}")
    parser.add_argument("--parsable", action="store_true")
    parser.add_argument("--no-requeue", action="store_true")
    parser.add_argument("script")
    given = parser.parse_args(words)
    if given.partition is not None and given.partition not in PARTITIONS:
        print(f"sbatch: error: invalid partition specified: {given.partition}", file=sys.stderr)
        fail("sbatch", "Batch job submission failed: Invalid partition name specified")
    text = Path(given.script).read_text()
    identity = standin.add(
        name=given.job_name, nodes=int(given.nodes or 1), chdir=given.chdir, output=given.output.replace("%%", "%"),
        words=words,
    )  # fmt: skip
    (standin.root / "jobs" / str(identity) / "script").write_text(text)
    subprocess.Popen(
        [sys.executable, "-IS", __file__, "node", str(identity)], start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    if standin.switched("lose-answer"):
        standin.switch("lose-answer", False)
        fail("sbatch", "Batch job submission failed: Socket timed out on send/recv operation")
    print(identity)


def node(standin: Standin, words: list[str]) -> None:
    """Run a job's script, as the daemon of its first node does."""
    identity = int(words[0])
    while standin.switched("hold"):  # ends with the folder: a test that is killed leaves nothing waiting
        time.sleep(0.02)
    job = standin.job(identity)
    if job["state"] != "PENDING":
        return
    environment = {
        **os.environ, "SLURM_JOB_ID": str(identity), "SLURM_JOB_NUM_NODES": str(job["nodes"]), "SLURM_NODEID": "0",
        "SLURMD_NODENAME": "localhost",
    }  # fmt: skip
    with open(job["output"], "ab") as log:
        standin.write(identity, state="RUNNING")
        script = standin.root / "jobs" / str(identity) / "script"
        process = subprocess.Popen(
            ["bash", script], env=environment, cwd=job["chdir"], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        code = process.wait()
    sent = max(0, -code)
    standin.end(identity, "COMPLETED" if code == 0 else "FAILED", max(0, code), sent)


def srun(standin: Standin, words: list[str]) -> None:
    """Run a command once per node; one that fails ends the others (--kill-on-bad-exit)."""
    command = words[next(index for index, word in enumerate(words) if not word.startswith("--")) :]
    count = int(os.environ["SLURM_JOB_NUM_NODES"])
    tasks = [
        subprocess.Popen(command, env={**os.environ, "SLURM_NODEID": str(rank), "SLURM_PROCID": str(rank)})
        for rank in range(count)
    ]
    while any(task.poll() is None for task in tasks):
        if any(task.poll() for task in tasks):
            for task in tasks:
                task.kill()
        time.sleep(0.02)
    codes = [task.wait() for task in tasks]
    raise SystemExit(max(code if code >= 0 else 128 - code for code in codes))


def squeue(standin: Standin, words: list[str]) -> None:
    parser = argparse.ArgumentParser("squeue", allow_abbrev=False)
    parser.add_argument("--noheader", action="store_true", required=True)
    for name in ("format", "jobs", "name", "states"):
        parser.add_argument(f"--{name}")
    given = parser.parse_args(words)
    shown = [
        identity
        for identity in standin.ids()
        if standin.job(identity)["state"] in ACTIVE or (given.states == "all" and not standin.switched("forget"))
    ]
    known = [i for i in standin.ids() if standin.job(i)["state"] in ACTIVE or not standin.switched("forget")]
    if given.jobs and int(given.jobs) not in known:
        print("slurm_load_jobs error: Invalid job id specified", file=sys.stderr)
        raise SystemExit(1)
    for identity in shown:
        job = standin.job(identity)
        if given.jobs in (None, str(identity)) and given.name in (None, job["name"]):
            where = "(Resources)" if job["state"] == "PENDING" else "localhost"
            print(given.format.replace("%A", str(identity)).replace("%T", job["state"]).replace("%R", where))


def sacct(standin: Standin, words: list[str]) -> None:
    if standin.switched("no-accounting"):
        print("Slurm accounting storage is disabled", file=sys.stderr)
        raise SystemExit(1)
    parser = argparse.ArgumentParser("sacct", allow_abbrev=False)
    for name in ("noheader", "allocations", "parsable2"):
        parser.add_argument(f"--{name}", action="store_true", required=True)
    parser.add_argument("--format", choices=["State,ExitCode"], required=True)
    parser.add_argument("--jobs", type=int, required=True)
    given = parser.parse_args(words)
    if given.jobs in standin.ids():
        job = standin.job(given.jobs)
        state = "CANCELLED by 1000" if job["state"] == "CANCELLED" else job["state"]
        print(f"{state}|{job['code']}:{job['signal']}")


def scancel(standin: Standin, words: list[str]) -> None:
    for word in words:
        if word.startswith("--name="):
            for identity in standin.ids():
                if standin.job(identity)["name"] == word.partition("=")[2]:
                    standin.end(identity, "CANCELLED")
        elif int(word) not in standin.ids():
            fail("scancel", f"Kill job error on job id {word}: Invalid job id specified")
        else:
            standin.end(int(word), "CANCELLED")


def main() -> None:
    name, *words = sys.argv[1:]
    standin = Standin(Path(os.environ["STANDIN_SLURM"]))
    if standin.switched("busy") and name in ("sbatch", "squeue", "scancel"):
        fail(name, "Unable to contact slurm controller (connect failure)")
    {"sbatch": sbatch, "squeue": squeue, "sacct": sacct, "scancel": scancel, "srun": srun, "node": node}[name](
        standin, words
    )


if __name__ == "__main__":
    main()
