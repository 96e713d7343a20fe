"""Environments of the verifiers library as tasks and verifier, with the real library where it is installed."""

from __future__ import annotations

import signal
from importlib import metadata
from pathlib import Path

import pytest

from collegium import Completion, ConfigError, Error, PluginError, Score, Task
from collegium.job import DomainSpec
from collegium.planning import make_plan
from collegium.plugins.registry import Registry
from collegium.recipe import load_recipe
from collegium.testing.stages import run_toy, toy_job, toy_model
from collegium_environments import library
from collegium_environments.tasks import EnvironmentTasks
from collegium_environments.verifier import EnvironmentVerifier

SOURCE = """\
import verifiers as vf
from datasets import Dataset

def rows(words):
    return Dataset.from_dict({"question": [f"#{word}=" for word in words], "answer": list(words), "bonus": [0.5] * len(words)})

async def right(completion, answer, **kwargs):
    return float(completion[-1]["content"] == answer)

def short(completion, state):
    if completion[-1]["content"] == "crash":
        raise ZeroDivisionError("by zero")
    return float(not state["is_truncated"])

def bonus(bonus, **kwargs):
    return bonus

def together(completions):
    return [0.0 for _ in completions]

def load_environment(evaluation=True, kind="single"):
    rubric = vf.Rubric(funcs=[together] if kind == "group" else [right, short, bonus], weights=[1.0] if kind == "group" else [0.5, 0.3, 0.4])
    eval_dataset = rows(["abc", "fed"]) if evaluation else None
    make = vf.ToolEnv if kind == "tools" else vf.SingleTurnEnv
    more = {"tools": []} if kind == "tools" else {}
    return make(dataset=rows(["abc", "cab", "bad", "cab", "dab"]), eval_dataset=eval_dataset, rubric=rubric, **more)
"""
RECIPE = "collegium: 1\nname: sums\nstages: {base: {use: pretrain, model: {tokenizer: {characters: ab}}, steps: 1}}\n"


@pytest.fixture
def words(tmp_path, monkeypatch):
    """An environment's module on the path."""
    (tmp_path / "my_sums.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    library._load.cache_clear()
    return {"environment": "my-sums"}


@pytest.fixture
def real(words):
    try:
        metadata.version("verifiers")
    except metadata.PackageNotFoundError:
        pytest.skip("verifiers is not installed")
    return words


def test_both_components_are_discovered():
    registry = Registry.discover()
    assert registry.find("task", "environment").id == "collegium-environments/environment"
    assert registry.find("verifier", "environment").id == "collegium-environments/environment"


def test_the_readmes_recipe_plans_and_edited_code_changes_its_fingerprint(words, tmp_path):
    block = (Path(__file__).parents[1] / "README.md").read_text().partition("```yaml\n")[2].partition("```")[0]
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE + block)
    before = make_plan(load_recipe(recipe), Registry.discover()).domain_digests
    (tmp_path / "my_sums.py").write_text(SOURCE + "\nEDITED = True\n")
    assert make_plan(load_recipe(recipe), Registry.discover()).domain_digests != before


def test_an_environment_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match="no module 'acme_gone'"):
        EnvironmentTasks({"environment": "acme/acme-gone"}).files()


def test_without_the_library_it_says_what_to_install(words, monkeypatch):
    def gone(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr("collegium_environments.library.metadata.version", gone)
    with pytest.raises(PluginError, match=r"collegium-environments\[library\]"):
        EnvironmentTasks(words).tasks("train")


def test_a_task_of_another_source_is_an_error(words):
    assert isinstance(EnvironmentVerifier(words).verify(Completion("a"), Task("t", "q")), Error)


@pytest.mark.engines
def test_the_evaluation_set_is_held_out_and_its_prompts_are_not_trained_on(real):
    source = EnvironmentTasks(real)
    assert [task.reference for task in source.tasks("heldout")] == ["abc", "fed"]
    assert [task.reference for task in source.tasks("train")] == ["cab", "bad", "cab", "dab"]
    assert source.tasks("train")[0].prompt == ({"role": "user", "content": "#cab="},)


@pytest.mark.engines
def test_without_an_evaluation_set_prompts_are_split_by_seed(real):
    source = EnvironmentTasks({**real, "arguments": {"evaluation": False}, "heldout": 0.5})
    prompts = {split: {task.prompt_text for task in source.tasks(split)} for split in ("train", "heldout")}
    assert not prompts["train"] & prompts["heldout"]
    assert {len(found) for found in prompts.values()} == {2}


@pytest.mark.engines
def test_the_rubrics_weighted_sum_is_the_score_and_a_failing_function_is_an_error(real):
    (task, *_) = EnvironmentTasks(real).tasks("heldout")
    verifier = EnvironmentVerifier(real)
    verdict = verifier.verify(Completion("abc"), task)
    assert isinstance(verdict, Score)
    assert verdict.value == pytest.approx(1.0)
    assert {name: verdict.details["metrics"][name] for name in ("right", "short", "bonus")} == {
        "right": 1.0,
        "short": 1.0,
        "bonus": 0.5,
    }
    assert verifier.verify(Completion("x", "length"), task).value == pytest.approx(0.2)
    failed = verifier.verify(Completion("crash"), task)
    assert isinstance(failed, Error)
    assert "short raised ZeroDivisionError" in failed.reason


@pytest.mark.engines
@pytest.mark.parametrize(("kind", "message"), [("tools", "ToolEnv"), ("group", "rewards over a group")])
def test_what_is_not_single_turn_is_refused(real, kind, message):
    with pytest.raises(ConfigError, match=message):
        EnvironmentTasks({**real, "arguments": {"kind": kind}}).tasks("train")


@pytest.mark.engines
def test_the_workers_signal_handlers_stay(real):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    EnvironmentTasks(real).tasks("train")
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


@pytest.mark.engines
@pytest.mark.e2e
def test_a_model_is_trained_and_evaluated_on_an_environment(real, tmp_path):
    model = toy_model()
    model.tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    model.save(tmp_path / "model")
    use = {"use": "collegium-environments/environment", "options": real}
    domain = DomainSpec(name="sums", task=use, verifier=use)
    options = {"steps": 1, "prompts": 2, "group": 2, "sampling": {"max_tokens": 4}}
    job = toy_job(
        "collegium-grpo/grpo",
        options,
        tmp_path / "t",
        domains=[domain],
        inputs={"init_from": tmp_path / "model"},
        evaluate=True,
    )
    outcome = run_toy(job)
    assert outcome.status == "completed", outcome.problem
    assert outcome.scores["sums"] >= 0.2
    assert outcome.metrics["evaluation/errors/sums"] == 0
