"""A toy recipe of the quick start's shape, small enough to run many times: two domains, ten thousand weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PLUGIN = """
from collegium import component, hookimpl

@hookimpl
def register_tasks():
    return [component("toy", "collegium.testing.toy_domain:ToyTasks", "Copy or reverse a word.")]

@hookimpl
def register_verifiers():
    return [component("toy", "collegium.testing.toy_domain:ToyVerifier", "Exact match.")]
"""
RECIPE = """\
collegium: 1
name: toy
seed: 3
requires: [collegium-sft>=0.1, collegium-grpo>=0.1, collegium-mopd>=0.1]
executor: {use: local, workers: 2}
checkpoint_every: 2
admission: {margin: -1.0}  # a few steps prove the machinery, not learning
domains:
  copy: {task: {use: toy, operation: copy, right: 0.4}, verifier: {use: toy, partial: true}}
  reverse: {task: {use: toy, operation: reverse, right: 0.4}, verifier: {use: toy, partial: true}}
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
  teacher: {use: grpo, for_each: domain, init_from: sft, steps: 6, prompts: 8, group: 4, lr: 1.0e-3,
            sampling: {max_tokens: 6}}
  student: {use: mopd, init_from: sft, teachers: {from: teacher}, steps: 6, prompts: 16, lr: 1.0e-3,
            sampling: {max_tokens: 6}}
"""

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def toy_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the toy package's metadata and plugin module, to stand on PYTHONPATH."""
    site = tmp_path_factory.mktemp("site")
    (site / "collegium_toy").mkdir()
    (site / "collegium_toy/__init__.py").write_text("")
    (site / "collegium_toy/plugin.py").write_text(PLUGIN)
    metadata = site / "collegium_toy-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: collegium-toy\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[collegium]\ncollegium-toy = collegium_toy.plugin\n")
    return site


@pytest.fixture(scope="session")
def environment(toy_site: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(toy_site), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def cli(environment: dict[str, str]) -> Cli:
    """Return a function that runs the command line as a user would, in a folder."""

    def run(*arguments: Any, cwd: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "collegium", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment)

    return run


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    """A folder with the toy recipe, its finished run in ``run`` and its store in ``store``."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "toy.yaml").write_text(RECIPE)
    done = cli("run", "toy.yaml", "--out", "run", "--store", "store", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "stdout.txt").write_text(done.stdout)
    return folder


def numbers(run: Path) -> dict[str, Any]:
    """Return a run's report without what may differ between two runs of the same recipe: times, and made or cached."""
    report = json.loads((run / "report.json").read_text())
    del report["seconds"]
    for stage in report["stages"]:
        del stage["seconds"], stage["status"]
    return report


def statuses(run: Path) -> dict[str, str]:
    """Return each stage's status in a report."""
    return {stage["id"]: stage["status"] for stage in json.loads((run / "report.json").read_text())["stages"]}
