"""The README's recipes plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from collegium import RecipeError
from collegium.planning import make_plan
from collegium.plugins import Registry
from collegium.recipe import load_recipe
from collegium.running.directory import RunDirectory
from collegium.running.runner import Runner
from collegium.store import Store

README = Path(__file__).parents[1] / "README.md"


def blocks() -> list[str]:
    return [part.partition("```")[0] for part in README.read_text(encoding="utf-8").split("```yaml\n")[1:]]


def planned(path: Path, text: str, registry: Any) -> Any:
    path.write_text(text, encoding="utf-8")
    return make_plan(load_recipe(path), registry)


def test_the_readmes_recipe_plans_and_depends_on_its_file(tmp_path, installed_registry, monkeypatch):
    monkeypatch.setenv("COLLEGIUM_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "corpus_stories.jsonl.gz").write_bytes(b"x")  # the domain's own file; a plan only digests it
    file = tmp_path / "data" / "sft_small_instructions.jsonl"

    def plan(output: str) -> Any:
        file.write_text(json.dumps({"instruction": "i", "output": output}) + "\n")
        return planned(tmp_path / "a.yaml", blocks()[0], installed_registry).stages

    before, after = plan("a"), plan("b")
    assert before["rl"].node.inputs == {"init_from": ["dpo"], "prompts_from": ["solvable"]}
    assert before["base"].fingerprint == after["base"].fingerprint
    assert all(before[name].fingerprint != after[name].fingerprint for name in before if name != "base")


def test_the_readmes_further_stages_plan(tmp_path, installed_registry):
    start = "collegium: 1\nname: more\ndomains:\n  writing: {task: writing, verifier: instructions}\nstages:\n"
    start += "  chat: {use: pretrain}\n"
    sources = "".join(
        f"  {name}: {{use: rejection-sampling, generate_from: chat}}\n" for name in ("original", "traces")
    )
    plan = planned(tmp_path / "b.yaml", start + sources + blocks()[1] + blocks()[2], installed_registry)
    assert plan.stages["samples"].node.inputs == {"data_from": ["original", "traces"]}
    assert plan.stages["dialogues"].options["check"]["use"] == "collegium-verifier-instructions/instructions"


def test_a_stage_that_learns_from_given_data_takes_no_prompts(tmp_path, installed_registry):
    text = "collegium: 1\nname: x\ndomains:\n  w: {task: writing, verifier: instructions}\nstages:\n"
    text += "  base: {use: pretrain}\n  c: {use: curate}\n  s: {use: sft, init_from: base, prompts_from: c}\n"
    with pytest.raises(RecipeError, match="takes no `prompts_from`"):
        planned(tmp_path / "c.yaml", text, installed_registry)


def test_each_teachers_traces_are_of_its_own_domain_and_all_of_them_are_distilled(tmp_path, installed_registry):
    text = """\
collegium: 1
name: traces
domains:
  code: {task: python, verifier: code}
  writing: {task: writing, verifier: instructions}
stages:
  base: {use: pretrain}
  teacher: {use: grpo, for_each: domain, init_from: base}
  traces: {use: rejection-sampling, for_each: domain, generate_from: teacher, keep_if: [{use: length, unit: words, max: 90}]}
  easy: {use: difficulty-filter, for_each: domain, generate_from: teacher}
  student: {use: sft, init_from: base, domains: [], data_from: traces, weights: {code: 0.6, writing: 0.4}}
  rl: {use: grpo, init_from: student, prompts_from: easy}
"""
    stages = planned(tmp_path / "t.yaml", text, installed_registry).stages
    assert stages["traces-code"].node.inputs == {"generate_from": ["teacher-code"]}
    assert stages["traces-writing"].node.domains == ("writing",)
    assert stages["student"].node.inputs["data_from"] == ["traces-code", "traces-writing"]
    assert stages["rl"].node.inputs["prompts_from"] == ["easy-code", "easy-writing"]


PLUGIN = """
from collegium import component, hookimpl

@hookimpl
def register_tasks():
    return [component("toy", "collegium.testing.toy_domain:ToyTasks", "Copy or reverse a word.")]

@hookimpl
def register_verifiers():
    return [component("toy", "collegium.testing.toy_domain:ToyVerifier", "Exact match.")]
"""
TOY = """\
collegium: 1
name: toy
domains:
  copy: {task: {use: toy, operation: copy, right: 0.7}, verifier: toy}
evaluation: {limit: 4, sampling: {max_tokens: 6, temperature: 0.0}}
stages:
  base:
    use: pretrain
    steps: 5
    evaluate: false
    model:
      sizes: {hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2, num_attention_heads: 2,
              num_key_value_heads: 2, max_position_embeddings: 64, tie_word_embeddings: true}
      tokenizer: {characters: "abcdef#~="}
  curated: {use: curate, prompts: 40, sources: {copy: {count: 150}}}
  sft: {use: sft, init_from: base, domains: [], data_from: curated, steps: 120, lr: 5.0e-3, batch: 32, row_tokens: 48}
  delta: {use: preference-pairs, generate_from: [sft, base], prompts_from: curated, keep_cut: true,
          sampling: {max_tokens: 6}}
  dpo: {use: dpo, init_from: sft, data_from: delta, steps: 3, lr: 1.0e-4}
  some: {use: difficulty-filter, generate_from: dpo, prompts_from: curated, max_pass_rate: 0.9, min_pass_rate: 0.1,
         sampling: {max_tokens: 6}}
  rl: {use: grpo, init_from: dpo, prompts_from: some, steps: 2, prompts: 4, group: 4, sampling: {max_tokens: 6}}
"""


def test_a_whole_recipe_runs_and_each_stage_sees_the_prompts_of_the_one_before(tmp_path, make_plugin):
    make_plugin("collegium-toy", plugin=PLUGIN)
    plan = planned(tmp_path / "toy.yaml", TOY, Registry.discover())
    run = RunDirectory(tmp_path / "run")
    Runner(plan, run, Store(tmp_path / "store")).run()

    def tasks(stage: str, name: str) -> set[str]:
        lines = (run.stage(stage) / "data" / name).read_text().splitlines()
        return {json.loads(line)["task"] for line in lines}

    curated, some = tasks("curated", "prompts.jsonl"), tasks("some", "prompts.jsonl")
    assert len(curated) == 40
    assert tasks("delta", "pairs.jsonl") <= curated
    assert some < curated
    lines = (run.stage("rl") / "samples.jsonl").read_text().splitlines()
    assert {json.loads(line)["task"] for line in lines} <= some
