"""What a run does when a plugin raises at import, hangs, returns NaN, floods its output, leaves threads, or exits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

VERIFIER = """
import os, threading, time
from collegium import Config, Score, Verifier

class RogueConfig(Config):
    behaviour: str = "good"

class Rogue(Verifier):
    Config = RogueConfig
    timeout_s = 0.2

    def verify(self, completion, task):
        match self.config.behaviour:
            case "hang":
                time.sleep(3600)
            case "nan":
                score = Score(0.5)
                object.__setattr__(score, "value", float("nan"))
                return score
            case "prints":
                print("x" * 10_000_000)
                os.write(2, b"y" * 10_000_000)
            case "threads":
                threading.Thread(target=time.sleep, args=(3600,), name="rogue").start()
            case "exit":
                os._exit(0)
            case "exit in a child":
                child = os.fork()
                if child == 0:
                    os._exit(0)
                os.waitpid(child, 0)
            case "raises":
                raise SystemExit(0)
        return Score(float(completion.text == task.reference))
"""
PLUGIN = """
from collegium import component, hookimpl

@hookimpl
def register_verifiers():
    return [component("toy", "rogue.verifier:Rogue", "Misbehaves on demand.")]

@hookimpl
def register_tasks():
    return [component("toy", "collegium.testing.toy_domain:ToyTasks", "Copy a word.")]
"""
RECIPE = """\
collegium: 1
name: rogue
executor: {{use: {executor}}}
domains: {{copy: {{task: toy, verifier: {{use: toy, behaviour: {behaviour}}}}}}}
stages:
  base:
    use: pretrain
    evaluate: false
    steps: 2
    batch: 4
    model:
      sizes: {{hidden_size: 16, intermediate_size: 32, num_hidden_layers: 1, num_attention_heads: 2,
              num_key_value_heads: 2, max_position_embeddings: 32, tie_word_embeddings: true}}
      tokenizer: {{characters: "abcdef#~="}}
  teacher: {{use: grpo, init_from: base, evaluate: false, steps: 2, prompts: 8, group: 4, sampling: {{max_tokens: 4}}}}
"""
EXECUTORS = ("in-process", "local")


class Bench:
    """A folder to work in, with the package `rogue` on the import path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.package = folder / "site/rogue"
        self.package.mkdir(parents=True)
        (self.package / "__init__.py").write_text("")
        (self.package / "plugin.py").write_text(PLUGIN)
        (self.package / "verifier.py").write_text(VERIFIER)
        metadata = folder / "site/acme_rogue-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-rogue\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text("[collegium]\nacme-rogue = rogue.plugin\n")

    def collegium(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(self.folder / "site"), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "collegium", *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=self.folder, env=environment, timeout=240)

    def run(self, behaviour: str, executor: str = "local") -> subprocess.CompletedProcess[str]:
        (self.folder / "recipe.yaml").write_text(RECIPE.format(behaviour=behaviour, executor=executor))
        return self.collegium("run", "recipe.yaml", "--out", "run")

    def report(self) -> dict:
        return json.loads((self.folder / "run/report.json").read_text())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ("hang", "calls hanging, each in a thread that cannot be stopped"),
        ("nan", "returned a score of nan, expected a number in [0, 1]"),
        ("exit", "called os._exit(0)"),
        ("raises", "raised SystemExit: 0"),
    ],
)
def test_a_verifier_that_cannot_judge_stops_the_run_under_its_owners_name(bench, behaviour, words, executor):
    done = bench.run(behaviour, executor)
    assert done.returncode == 2, done.stdout + done.stderr
    assert words in done.stderr
    assert "acme-rogue" in done.stderr
    report = bench.report()
    assert report["status"] == "failed"
    assert {stage["id"]: stage["status"] for stage in report["stages"]} == {"base": "completed", "teacher": "failed"}


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("behaviour", ["prints", "threads", "exit in a child"])
def test_a_verifier_that_is_only_noisy_does_not_harm_the_run(bench, behaviour, executor):
    done = bench.run(behaviour, executor)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert bench.report()["status"] == "completed"
    logs = list((bench.folder / "run").rglob("worker.log"))
    assert all(log.stat().st_size < 128 * 2**20 for log in logs)
    assert bool(logs) is (executor == "local")


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("raise RuntimeError('no licence found')", "RuntimeError: no licence found"),
        ("import os; os._exit(0)", "called os._exit(0)"),
        ("import sys; sys.exit(0)", "SystemExit"),
        ("import nothing_of_this_name", "ModuleNotFoundError"),
        ("def broken(:", "SyntaxError"),
    ],
)
def test_a_plugin_that_fails_at_import_stops_the_recipes_that_need_it_and_no_command(bench, source, cause):
    (bench.package / "plugin.py").write_text(source)
    done = bench.run("good")
    assert done.returncode == 2
    assert cause in done.stderr
    assert "acme-rogue" in done.stderr
    assert not (bench.folder / "run").exists()
    doctor = bench.collegium("plugins", "doctor")
    assert doctor.returncode == 1
    assert cause in doctor.stdout
    assert bench.collegium("plugins", "list").returncode == 0
    assert bench.collegium("--help").returncode == 0


@pytest.mark.parametrize(
    ("source", "cause"),
    [("raise ValueError('bad build')", "ValueError: bad build"), ("import os; os._exit(0)", "called os._exit(0)")],
)
def test_a_component_that_fails_at_import_stops_before_anything_runs(bench, source, cause):
    (bench.package / "verifier.py").write_text(source)
    done = bench.run("good")
    assert done.returncode == 2, done.stdout + done.stderr
    assert cause in done.stderr
    assert "acme-rogue" in done.stderr
    assert not (bench.folder / "run").exists()


def test_a_plugin_whose_import_hangs_is_named_and_can_be_left_out(bench):
    (bench.package / "plugin.py").write_text("import time; time.sleep(3600)")
    (bench.folder / "recipe.yaml").write_text(RECIPE.format(behaviour="good", executor="local"))
    environment = {**os.environ, "PYTHONPATH": str(bench.folder / "site")}
    command = [sys.executable, "-m", "collegium", "plan", "recipe.yaml"]
    process = subprocess.Popen(command, cwd=bench.folder, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        assert "still importing acme-rogue" in process.stderr.readline()
    finally:
        process.kill()
        process.communicate()
    assert bench.collegium("--no-plugin", "acme-rogue", "plugins", "list").returncode == 0
    doctor = bench.collegium("plugins", "doctor", "--timeout", "2")
    assert doctor.returncode == 1
    assert "acme-rogue" in doctor.stdout


def test_a_good_plugin_is_the_control(bench):
    assert bench.run("good").returncode == 0
