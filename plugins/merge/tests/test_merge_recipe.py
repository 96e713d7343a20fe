"""Recipes with merges: one run from end to end, and the README's example."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from collegium.planning import make_plan
from collegium.recipe import load_recipe

TOY = """
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
name: merged
seed: 3
domains:
  copy: {task: {use: toy, operation: copy}, verifier: {use: toy, partial: true}}
  reverse: {task: {use: toy, operation: reverse}, verifier: {use: toy, partial: true}}
evaluation: {sampling: {max_tokens: 6, temperature: 0.0}}
stages:
  base:
    use: pretrain
    steps: 100
    batch: 32
    lr: 5.0e-3
    model:
      sizes: {hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2, num_attention_heads: 2,
              num_key_value_heads: 2, max_position_embeddings: 64, tie_word_embeddings: true}
      tokenizer: {characters: "abcdef#~="}
  skill: {use: sft, for_each: domain, init_from: base, steps: 40, batch: 32, lr: 2.0e-3}
  mean: {use: merge, average_of: skill}
  leaning: {use: merge, average_of: skill, weights: {skill-copy: 3, skill-reverse: 1}}
  sum: {use: merge, average_of: skill, reference: base, method: task-arithmetic, scale: 0.5}
  ties: {use: merge, average_of: skill, reference: base, method: ties, density: 0.5}
  dare: {use: merge, average_of: skill, reference: base, method: dare, density: 0.5, scale: 0.5}
"""
MERGES = ("mean", "leaning", "sum", "ties", "dare")


@pytest.mark.e2e
def test_a_recipe_merges_the_models_of_its_domains(tmp_path, make_plugin):
    make_plugin("collegium-toy", plugin=TOY)
    (tmp_path / "toy.yaml").write_text(RECIPE)
    command = [sys.executable, "-m", "collegium", "run", "toy.yaml", "--out", "run", "--store", "store"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    for domain in ("copy", "reverse"):
        scores = report["domains"][domain]["scores"]
        assert set(MERGES) < set(scores)
        assert min(scores["mean"], scores["ties"]) > scores["base"]  # one model that got better at both
    weights = {
        name: load_file(tmp_path / "run" / "stages" / name / "model" / "model.safetensors")
        for name in ("base", "skill-copy", "skill-reverse", *MERGES)
    }
    for name, base in weights["base"].items():
        copy, reverse = weights["skill-copy"][name], weights["skill-reverse"][name]
        assert torch.allclose(weights["mean"][name], (copy + reverse) / 2, atol=1e-6)
        assert torch.allclose(weights["leaning"][name], 0.75 * copy + 0.25 * reverse, atol=1e-6)
        # Half the sum of two changes is the average again.
        assert torch.allclose(weights["sum"][name], base + ((copy - base) + (reverse - base)) / 2, atol=1e-6)
    embeddings = {tuple(weights[name]["model.embed_tokens.weight"].flatten().tolist()) for name in MERGES}
    assert len(embeddings) >= 4  # the sum is the mean, perhaps to the last bit


def test_the_example_of_the_readme_plans(tmp_path, installed_registry, monkeypatch):
    monkeypatch.chdir(tmp_path)
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    (tmp_path / "recipe.yaml").write_text(readme.split("```yaml\n")[1].split("```")[0])
    (tmp_path / "corpus.txt").write_text("abc")
    for name in ("first.jsonl", "second.jsonl"):
        (tmp_path / name).write_text('{"prompt": "p", "completion": "c"}\n')
    plan = make_plan(load_recipe(tmp_path / "recipe.yaml"), installed_registry)
    assert plan.stages["mean"].node.inputs["average_of"] == ["one", "two"]
    assert plan.stages["ties"].node.inputs["reference"] == ["base"]
