"""A package for tests (the toy domain, and a stage that does what it is told), and a real cluster of two nodes."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest

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
import json, os, signal, subprocess, sys, time
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
        with open(starts, "a") as file:
            file.write(json.dumps({"pid": os.getpid(), "cwd": os.getcwd(), "node": os.environ.get("RAY_NODE_ID", ""),
                                   "gpus": os.environ.get("CUDA_VISIBLE_DEVICES"), "secret": os.environ.get("SECRET"),
                                   "threads": os.environ["OMP_NUM_THREADS"]}) + "\\n")
        first = len(starts.read_text().splitlines()) == 1
        context.emit(1, 1, {"loss": 0.5})
        getattr(self, "do_" + self.config.do.replace("-", "_"))(context, first)

    def do_finish(self, context, first):
        (context.output / "report.json").write_text("{}")

    def do_raise(self, context, first):
        raise ValueError("told to fail")

    def do_die(self, context, first):
        os.kill(os.getpid(), 9)

    def do_die_once(self, context, first):
        if first:
            os.kill(os.getpid(), 9)

    def do_wait(self, context, first):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)", str(context.directory)])
        (context.directory / "waits").write_text(str(child.pid))
        while True:
            time.sleep(0.1)

    def do_idle(self, context, first):
        (context.directory / "waits").touch()
        while True:
            time.sleep(0.1)

    def do_wait_once(self, context, first):
        (context.directory / "waits").touch()
        while first:
            time.sleep(0.1)
"""


@dataclass(frozen=True, slots=True)
class RunningNode:
    """A node of the test's cluster: the process that holds all of its processes."""

    process: subprocess.Popen[bytes]

    def stop(self) -> None:
        """End the node as an administrator would."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End every process of the node at once, as a power cut does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


StartNode = Callable[..., RunningNode]


@pytest.fixture(scope="session")
def ray_installed() -> None:
    """Skip where Ray is not installed: it is optional."""
    try:
        metadata.version("ray")
    except metadata.PackageNotFoundError:
        pytest.skip("Ray is not installed")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the test package, to stand on PYTHONPATH."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "collegium_toy").mkdir()
    (folder / "collegium_toy/__init__.py").write_text("")
    (folder / "collegium_toy/plugin.py").write_text(PLUGIN)
    (folder / "collegium_toy/probe.py").write_text(PROBE)
    info = folder / "collegium_toy-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: collegium-toy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[collegium]\ncollegium-toy = collegium_toy.plugin\n")
    return folder


@pytest.fixture(scope="session")
def environment(site: Path) -> Iterator[dict[str, str]]:
    """The environment of every node and run: with the package, and with a token of the cluster's own."""
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        yield {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def start_node(ray_installed: None, environment: dict[str, str]) -> Iterator[StartNode]:
    """Return a function that starts a node: ``start_node("--head", ...)``, under a command such as unshare if given."""
    nodes: list[RunningNode] = []

    def start(*arguments: str, under: tuple[str, ...] = ()) -> RunningNode:
        command = [*under, sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
        process = subprocess.Popen(
            [*command, *arguments], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        nodes.append(RunningNode(process))
        return nodes[-1]

    yield start
    for node in reversed(nodes):
        if node.process.poll() is None:
            node.stop()


@pytest.fixture(scope="session")
def address(start_node: StartNode) -> str:
    """The address of a cluster with one node of four CPUs and two declared GPUs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    arguments = (f"--port={port}", "--node-ip-address=127.0.0.1", "--num-cpus=4", "--num-gpus=2")
    head = start_node("--head", *arguments, "--include-dashboard=false", "--object-store-memory=100000000")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert head.process.poll() is None, "the head node ended at its start"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return f"127.0.0.1:{port}"
        time.sleep(0.2)
    raise TimeoutError("the head node did not open its port")


def processes_with(text: str) -> list[int]:
    """Return the processes that have a text, such as a run's folder, in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if text.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


def eventually(condition: Callable[[], bool], seconds: float = 60) -> bool:
    """Wait for a condition, and say whether it came true."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()
