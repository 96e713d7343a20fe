"""Slurm's commands on PATH (stand-ins with real processes), and a package with the toy domain and a probing stage."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collegium.job import StageEvent, StageJob
from collegium_slurm.executor import SlurmExecutor

from .standin import Standin

LIGHT_WORKER = str(Path(__file__).with_name("light_worker.py"))
COMMANDS = ("sbatch", "squeue", "sacct", "scancel", "srun")
PLUGIN = """
from collegium import component, hookimpl

@hookimpl
def register_tasks():
    return [component("toy", "collegium.testing.toy_domain:ToyTasks", "Copy or reverse a word.")]

@hookimpl
def register_verifiers():
    return [component("toy", "collegium.testing.toy_domain:ToyVerifier", "Exact match.")]

@hookimpl
def register_stages():
    return [component("probe", "collegium_toy.probe:Probe", "Does what it is told.")]
"""
PROBE = """
import json, os, time
from typing import ClassVar
from collegium import Stage, StageConfig

class ProbeConfig(StageConfig):
    requires: ClassVar[frozenset] = frozenset()
    produces: ClassVar[str] = "report"
    do: str = "finish"

    def judges(self):
        return False

class Probe(Stage):
    Config = ProbeConfig

    def run(self, context):
        starts = context.directory / "starts"
        context.output.mkdir(parents=True, exist_ok=True)
        names = ("SLURM_JOB_ID", "SLURM_NODEID", "COLLEGIUM_MASTER", "COLLEGIUM_NODE_RANK", "OMP_NUM_THREADS", "SET_UP")
        with open(starts, "a") as file:
            found = {name: os.environ.get(name) for name in names}
            file.write(json.dumps({"pid": os.getpid(), "cwd": os.getcwd(), **found}) + "\\n")
        first = len(starts.read_text().splitlines()) == 1
        context.emit(1, 1, {"loss": 0.5})
        if self.config.do == "raise":
            raise ValueError("told to fail")
        if self.config.do == "die" or self.config.do == "die-once" and first:
            os.kill(os.getpid(), 9)
        while self.config.do == "wait" or self.config.do == "wait-once" and first:
            time.sleep(0.05)
        (context.output / "report.json").write_text("{}")
"""
STAGE = {"id": "probe", "use": "collegium-toy/probe", "seed": 1, "domains": {}, "evaluate_on": {}}


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Standin]:
    """A cluster of this machine: its commands on PATH, its state to look at and to disturb."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in COMMANDS:
        command = shlex.join([sys.executable, "-IS", str(Path(__file__).with_name("standin.py")), name])
        (folder / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/local/bin:/usr/bin:/bin")
    monkeypatch.setenv("STANDIN_SLURM", str(tmp_path / "slurm"))
    standin = Standin(tmp_path / "slurm")
    yield standin
    for identity in standin.ids():
        standin.end(identity, "CANCELLED")


@pytest.fixture
def toy(make_plugin: Callable[..., Path]) -> None:
    """Install the package for workers."""
    make_plugin("collegium-toy", plugin=PLUGIN, probe=PROBE)


class Run:
    """One job followed by an executor; its worker is a light one unless a test asks for the real one."""

    def __init__(self, folder: Path, *, real: bool = False, **options: object) -> None:
        self.folder = folder
        light = {} if real else {"python": LIGHT_WORKER}
        self.executor = SlurmExecutor({"poll_s": 0.05, "settle_s": 0.2, **light, **options})
        self.events: list[StageEvent] = []

    def job(self, do: str, **fields: object) -> StageJob:
        return StageJob(**{**STAGE, "options": {"do": do}, "directory": str(self.folder), **fields})

    def __call__(self, do: str, **fields: object):
        return self.executor.execute(self.job(do, **fields), self.events.append)

    @property
    def told(self) -> list[str]:
        return [event.text for event in self.events if event.kind == "message"]

    @property
    def starts(self) -> list[dict]:
        path = self.folder / "starts"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def run(slurm: Standin, toy: None, tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Return a function that makes a `Run` with options of the executor."""
    made: list[Run] = []

    def make(**options: object) -> Run:
        made.append(Run(tmp_path / "stage", **options))
        return made[-1]

    yield make
    for each in made:
        each.executor.close()


def eventually(condition: Callable[[], object], seconds: float = 60) -> bool:
    """Wait for a condition, and say whether it came true."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(condition())
