"""A recipe on a local Ray cluster: teachers in parallel, a killed worker, an interrupt; the figures stay the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .conftest import eventually, processes_with

pytestmark = [pytest.mark.engines, pytest.mark.slow, pytest.mark.e2e, pytest.mark.usefixtures("ray_installed")]

DOMAINS = ("copy", "reverse", "short")
TEACHERS = [f"teacher-{domain}" for domain in DOMAINS]
LOCAL = "{use: local, workers: 3}"
RAY = "{use: ray, address: local, local_cpus: 4}"
RECIPE = """\
collegium: 1
name: toy
seed: 3
requires: [collegium-sft>=0.1, collegium-grpo>=0.1, collegium-mopd>=0.1]
executor: EXECUTOR
checkpoint_every: 2
admission: {margin: -1.0}  # a few steps prove the machinery, not learning
domains:
  copy: {task: {use: toy, operation: copy, right: 0.4}, verifier: {use: toy, partial: true}}
  reverse: {task: {use: toy, operation: reverse, right: 0.4}, verifier: {use: toy, partial: true}}
  short: {task: {use: toy, operation: reverse, length: 2, heldout: 10}, verifier: {use: toy, partial: true}}
evaluation: {sampling: {max_tokens: 6, temperature: 0.0}}
stages:
  base:
    use: pretrain
    steps: 6
    batch: 16
    model:
      sizes: {hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2, num_attention_heads: 2,
              num_key_value_heads: 2, max_position_embeddings: 64, tie_word_embeddings: true}
      tokenizer: {characters: "abcdef#~="}
  sft: {use: sft, init_from: base, steps: 8, batch: 16, lr: 3.0e-3}
  teacher: {use: grpo, for_each: domain, init_from: sft, steps: 12, prompts: 8, group: 4, lr: 1.0e-3,
            sampling: {max_tokens: 6}}
  student: {use: mopd, init_from: sft, teachers: {from: teacher}, steps: 6, prompts: 18, lr: 1.0e-3,
            sampling: {max_tokens: 6}}
"""


def start(folder: Path, environment: dict[str, str], executor: str, *arguments: str) -> subprocess.Popen[bytes]:
    (folder / "toy.yaml").write_text(RECIPE.replace("EXECUTOR", executor))
    command = [sys.executable, "-m", "collegium", "run", "toy.yaml", "--out", "run", "--store", "store", *arguments]
    with open(folder / "output.txt", "wb") as output:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)


def completed(process: subprocess.Popen[bytes], folder: Path) -> str:
    code = process.wait(timeout=240)
    text = (folder / "output.txt").read_text()
    assert code == 0, text
    return text


def numbers(run: Path) -> dict[str, Any]:
    """Return a run's report without times."""
    report = json.loads((run / "report.json").read_text())
    report["plugins"] = [each for each in report["plugins"] if each["distribution"] != "collegium-ray"]
    del report["seconds"]
    for stage in report["stages"]:
        del stage["seconds"]
    return report


def journal(run: Path, stage: str) -> list[dict[str, Any]]:
    lines = (run / "stages" / stage / "metrics.jsonl").read_text().splitlines()
    return [{name: value for name, value in json.loads(line).items() if not name.startswith("time/")} for line in lines]


def steps(run: Path, stage: str) -> int:
    path = run / "stages" / stage / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def workers(run: Path, stage: str) -> list[int]:
    return processes_with(str(run / "stages" / stage / "job.json"))


def test_three_teachers_in_parallel_and_one_killed_end_with_the_figures_of_an_undisturbed_local_run(
    environment, tmp_path
):
    for name in ("local", "ray"):
        (tmp_path / name).mkdir()
    completed(start(tmp_path / "local", environment, LOCAL), tmp_path / "local")
    run = tmp_path / "ray/run"
    process = start(tmp_path / "ray", environment, RAY)
    try:
        assert eventually(lambda: all(workers(run, teacher) for teacher in TEACHERS), 120), "not all at once"
        assert eventually(lambda: steps(run, TEACHERS[1]) >= 3)
        [victim] = workers(run, TEACHERS[1])
        os.kill(victim, signal.SIGKILL)
        text = completed(process, tmp_path / "ray")
    finally:
        process.kill()
        process.wait()
    assert f"{TEACHERS[1]}: its worker was killed by signal SIGKILL" in text
    assert "started again from its last checkpoint (1 of 2)" in text
    assert f"{TEACHERS[1]}: resumes after step" in text
    assert numbers(run) == numbers(tmp_path / "local/run")
    for teacher in TEACHERS:
        assert journal(run, teacher) == journal(tmp_path / "local/run", teacher)
    assert processes_with(str(run)) == []


@pytest.mark.parametrize(("sent", "parallel"), [(signal.SIGINT, 1), (signal.SIGTERM, 3)])
def test_an_interrupt_stops_workers_and_cluster_and_a_resume_goes_on(environment, tmp_path, sent, parallel):
    executor = RAY.replace("}", f", parallel: {parallel}}}")
    process = start(tmp_path, environment, executor, "stages.base.steps=100000")
    try:
        assert eventually(lambda: steps(tmp_path / "run", "base") >= 3)
        process.send_signal(sent)
        assert process.wait(timeout=120) == 130, (tmp_path / "output.txt").read_text()
    finally:
        process.kill()
        process.wait()
    assert "go on with: collegium resume run" in (tmp_path / "output.txt").read_text()
    assert processes_with(str(tmp_path / "run")) == []
    command = [sys.executable, "-m", "collegium", "resume", "run"]
    resumed = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE)
    assert resumed.stdout is not None
    assert any(b"base: resumes after step" in line for line in iter(resumed.stdout.readline, b""))
    resumed.kill()
    resumed.wait()
    resumed.stdout.close()
    assert eventually(lambda: processes_with(str(tmp_path / "run")) == [])
