"""The quick start, whose earlier stages `make demo` has left in the store, with real engines in its last one."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "runs/quickstart"
STORE = ROOT / ".collegium/store"
CPU = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
START_S = 240

Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def demo() -> dict[str, Any]:
    """The report of the quick start as it stands."""
    if not (DEMO / "report.json").is_file():
        assert not os.environ.get("CI"), "make test-engines runs the demo first"
        pytest.skip("make demo has not run")
    return json.loads((DEMO / "report.json").read_text())


@pytest.fixture(scope="session")
def run_student(demo, tmp_path_factory) -> Run:
    """Return a function that runs the quick start with another last stage; what comes before is in the store."""

    def run(name: str, *overrides: str) -> dict[str, Any]:
        out = tmp_path_factory.mktemp(name) / "run"
        command = [sys.executable, "-m", "collegium", "run", "recipes/quickstart.yaml", "--out", str(out)]
        done = subprocess.run([*command, "--store", str(STORE), *overrides], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        report = json.loads((out / "report.json").read_text())
        made = [stage["id"] for stage in report["stages"] if stage["status"] == "completed"]
        assert made == ["student"], "the other stages come from the store"
        lines = (out / "stages/student/metrics.jsonl").read_text().splitlines()
        return {**report, "metrics": [json.loads(line) for line in lines]}

    return run


@pytest.fixture(scope="session")
def serve(demo, tmp_path_factory) -> Iterator[Callable[[str], str]]:
    """Return a function that serves a stage's model with vLLM and returns the server's address."""
    running: list[subprocess.Popen[bytes]] = []

    def start(stage: str) -> str:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        model = DEMO / "stages" / stage / "model"
        command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
        command += ["--served-model-name", stage, "--dtype", "float32", "--enforce-eager", "--host", "127.0.0.1"]
        command += ["--port", str(port), "--max-model-len", "128", "--max-num-seqs", "64"]
        log = tmp_path_factory.mktemp(stage) / "vllm.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, env={**os.environ, **CPU}, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        running.append(process)
        await_health(process, f"http://127.0.0.1:{port}", log)
        return f"http://127.0.0.1:{port}"

    try:
        yield start
    finally:
        for process in running:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def await_health(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text(errors="replace")[-3000:]
        try:
            if httpx.get(f"{url}/health", timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(1)
    raise AssertionError(log.read_text(errors="replace")[-3000:])
