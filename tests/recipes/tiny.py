"""A recipe with every kind of stage, of the toy domain and ten thousand weights: for tests of this machinery."""

from __future__ import annotations

import os
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
"""
RECIPE = """\
collegium: 1
name: tiny
seed: 3
executor: {use: in-process}
admission: {margin: -1.0}
domains:
  copy: {task: {use: toy, operation: copy}, verifier: {use: toy, partial: true}}
  reverse: {task: {use: toy, operation: reverse}, verifier: {use: toy, partial: true}}
evaluation: {sampling: {max_tokens: 6, temperature: 0.0}}
stages:
  base:
    use: pretrain
    steps: 20
    batch: 16
    model:
      sizes: {hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2, num_attention_heads: 2,
              num_key_value_heads: 2, max_position_embeddings: 64, tie_word_embeddings: true}
      tokenizer: {characters: "abcdef#~="}
  sft: {use: sft, init_from: base, steps: 4, batch: 16, lr: 3.0e-3}
  sampled: {use: rejection-sampling, generate_from: sft, samples: 4, prompts: 16, min_score: null,
            sampling: {max_tokens: 6}}
  rewards: {use: reward-model, init_from: sft, data_from: sampled, steps: 2, batch: 8, heldout: 0.3}
  preferred: {use: dpo, init_from: sft, data_from: sampled, steps: 2, batch: 8, heldout: 6}
  average: {use: merge, average_of: [sft, preferred]}
  teacher: {use: grpo, for_each: domain, init_from: sft, steps: 2, prompts: 8, group: 4, sampling: {max_tokens: 6}}
  student: {use: mopd, init_from: sft, teachers: {from: teacher}, steps: 2, prompts: 16, sampling: {max_tokens: 6}}
"""


def write_tiny(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the recipe, install the toy package for this process and those that it starts, and return the recipe."""
    package, metadata = folder / "site/collegium_tiny_toy", folder / "site/collegium_tiny_toy-1.0.dist-info"
    package.mkdir(parents=True)
    metadata.mkdir()
    (package / "__init__.py").write_text("")
    (package / "plugin.py").write_text(PLUGIN)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: collegium-tiny-toy\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[collegium]\ncollegium-tiny-toy = collegium_tiny_toy.plugin\n")
    monkeypatch.syspath_prepend(str(folder / "site"))
    paths = [str(folder / "site"), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setenv("COLLEGIUM_STORE", str(folder / "store"))
    recipe = folder / "tiny.yaml"
    recipe.write_text(RECIPE)
    return recipe
