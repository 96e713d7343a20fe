"""Recipes: the README's plan, and a whole one from random weights to a model trained on its parent's best samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from collegium.planning import make_plan
from collegium.plugins import Registry
from collegium.recipe import load_recipe
from collegium.running.directory import RunDirectory
from collegium.running.runner import Runner
from collegium.store import Store

README = Path(__file__).parents[1] / "README.md"
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
domains:
  copy: {task: {use: toy, operation: copy, right: 0.5}, verifier: toy}
evaluation: {sampling: {max_tokens: 6, temperature: 0.0}}
stages:
  base:
    use: pretrain
    steps: 20
    model:
      sizes: {hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2, num_attention_heads: 2,
              num_key_value_heads: 2, max_position_embeddings: 64, tie_word_embeddings: true}
      tokenizer: {characters: "abcdef#~="}
  first: {use: sft, init_from: base, steps: 150, lr: 5.0e-3, batch: 32, row_tokens: 48}
  samples: {use: rejection-sampling, generate_from: first, samples: 8, batch: 64, sampling: {max_tokens: 6}}
  second: {use: sft, init_from: base, domains: [], data_from: samples, steps: 150,
           lr: 5.0e-3, batch: 32, row_tokens: 48}
"""
REWARDED = """\
  rm: {use: reward-model, init_from: second, data_from: samples, steps: 200, lr: 2.0e-3, batch: 32}
  chosen: {use: rejection-sampling, generate_from: first, reward: reward-model, reward_models: rm, min_score: null,
           prompts: 64, samples: 8, sampling: {max_tokens: 6}}
"""


def blocks() -> list[str]:
    return [part.partition("```")[0] for part in README.read_text(encoding="utf-8").split("```yaml\n")[1:]]


@pytest.fixture
def toy_plugin(make_plugin: Any) -> None:
    make_plugin("collegium-toy", plugin=PLUGIN)


def planned(path: Path, text: str) -> Any:
    path.write_text(text, encoding="utf-8")
    return make_plan(load_recipe(path), Registry.discover())


def last_metrics(run: RunDirectory, stage: str) -> dict[str, float]:
    return json.loads((run.stage(stage) / "metrics.jsonl").read_text().splitlines()[-1])


def test_the_readmes_recipes_plan(tmp_path):
    whole, loop = blocks()
    plan = planned(tmp_path / "a.yaml", whole)
    assert list(plan.stages) == ["base", "first", "samples", "second"]
    head = whole.partition("  samples:")[0].replace("first:", "sft:")
    plan = planned(tmp_path / "b.yaml", head + loop)
    assert plan.stages["loop-r3-samples"].node.inputs == {
        "generate_from": ["loop-r2-tuned"],
        "data_from": ["loop-r1-samples", "loop-r2-samples"],
    }


@pytest.mark.usefixtures("toy_plugin")
def test_a_whole_recipe_runs_and_its_second_model_beats_its_first(tmp_path):
    plan = planned(tmp_path / "toy.yaml", RECIPE + REWARDED)
    run = RunDirectory(tmp_path / "run")
    Runner(plan, run, Store(tmp_path / "store")).run()
    scores = {name: json.loads((run.stage(name) / "status.json").read_text())["scores"]["copy"] for name in
              ("first", "second")}  # fmt: skip
    assert scores["second"] >= max(0.9, scores["first"] + 0.2)
    chosen = [json.loads(line) for line in (run.stage("chosen") / "data" / "data.jsonl").read_text().splitlines()]
    assert len(chosen) == 64
    right = sum(row["completion"] == row["prompt"][1:-1] for row in chosen) / 64
    sampled, kept = (last_metrics(run, name) for name in ("samples", "chosen"))
    assert right > sampled["pass@1"] + 0.2  # the reward model never saw the verifier, only pairs
    assert kept["kept/prompts"] == 1.0
    assert last_metrics(run, "rm")["heldout/accuracy"] > 0.7  # of a few held-out pairs; chance is 0.5
