"""A recipe through the command line: a stage over two nodes, a node that fails, and a run that ends early."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .conftest import LIGHT_WORKER, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

RECIPE = """\
collegium: 1
name: toy
seed: 3
executor: EXECUTOR
checkpoint_every: 2
domains:
  copy: {task: {use: toy, operation: copy}, verifier: toy}
evaluation: {sampling: {max_tokens: 6, temperature: 0.0}}
stages:
  base:
    use: pretrain
    steps: 16
    batch: 16
    launch: LAUNCH
    model:
      sizes: {hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2, num_attention_heads: 2,
              num_key_value_heads: 2, max_position_embeddings: 64, tie_word_embeddings: true}
      tokenizer: {characters: "abcdef#~="}
"""
WAITING = f"""\
collegium: 1
name: wait
executor: {{use: slurm, poll_s: 0.05, python: {LIGHT_WORKER}}}
stages:
  probe: {{use: probe, do: wait}}
"""
SLURM = "{use: slurm, poll_s: 0.1, settle_s: 2}"


def start(folder: Path, executor: str, launch: str) -> subprocess.Popen[bytes]:
    folder.mkdir(exist_ok=True)
    text = RECIPE.replace("EXECUTOR", executor).replace("LAUNCH", launch)
    (folder / "toy.yaml").write_text(text)
    command = [sys.executable, "-m", "collegium", "run", "toy.yaml", "--out", "run", "--store", "store"]
    with open(folder / "output.txt", "wb") as output:
        return subprocess.Popen(
            command, cwd=folder, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )


def finish(process: subprocess.Popen[bytes], folder: Path) -> str:
    code = process.wait(timeout=300)
    text = (folder / "output.txt").read_text()
    assert code == 0, text
    return text


def scores(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run/report.json").read_text())["domains"]["copy"]["scores"]


def losses(folder: Path) -> list[float]:
    lines = (folder / "run/stages/base/metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def command_line(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "collegium", *words]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def said(process: subprocess.Popen[bytes], text: bytes) -> bool:
    return any(text in line for line in iter(process.stdout.readline, b""))


def ended(process: subprocess.Popen[bytes]) -> int:
    process.communicate(timeout=60)
    return process.returncode


def test_a_stage_over_two_nodes_survives_the_loss_of_one_with_the_figures_of_two_local_ranks(slurm, toy, tmp_path):
    local, spread = tmp_path / "local", tmp_path / "spread"
    finish(start(local, "{use: local, workers: 1}", "{strategy: ddp, processes: 2}"), local)
    process = start(spread, SLURM, "{strategy: ddp, nodes: 2}")
    journal = spread / "run/stages/base/metrics.jsonl"
    try:
        assert eventually(lambda: journal.exists() and journal.read_bytes().count(b"\n") >= 4, 120)
        assert len([path for path in (spread / "run/stages/base/ranks").iterdir()]) == 2
        slurm.end(101, "NODE_FAIL")
        text = finish(process, spread)
    finally:
        process.kill()
        process.wait()
    assert "base: Slurm job 101 ended (NODE_FAIL): its node failed; submitted again" in text
    assert "base: resumes after step" in text
    assert losses(spread) == pytest.approx(losses(local), rel=1e-5)
    assert scores(spread) == scores(local)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_ends_early_goes_on_with_a_resume_and_leaves_one_job_at_a_time(slurm, toy, tmp_path, sent):
    (tmp_path / "wait.yaml").write_text(WAITING)
    first = command_line(tmp_path, "run", "wait.yaml", "--out", "run", "--store", "store")
    assert said(first, b"probe: step 1/1")
    first.send_signal(sent)
    assert ended(first) == (130 if sent == signal.SIGINT else -9)
    assert slurm.job(101)["state"] == ("CANCELLED" if sent == signal.SIGINT else "RUNNING")
    resumed = command_line(tmp_path, "resume", "run")
    assert said(resumed, b"probe: step 1/1")
    assert slurm.job(101)["state"] == "CANCELLED"
    assert slurm.job(102)["state"] == "RUNNING"
    resumed.send_signal(signal.SIGTERM)
    assert ended(resumed) == 130
    assert slurm.job(102)["state"] == "CANCELLED"
