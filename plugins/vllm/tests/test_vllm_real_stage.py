"""A whole stage with the real vLLM: it learns as with the default engine, and resumes with the same numbers."""

from __future__ import annotations

import importlib.util

import pytest

from collegium.launch_config import LaunchConfig
from collegium.testing.ranks import run_toy_ranks
from collegium.testing.stages import (
    journal_of,
    run_and_kill,
    run_toy,
    toy_domain,
    toy_job,
    toy_model,
    toy_registry,
    weights_of,
)
from collegium.training.packing import indices_of_step
from collegium.training.supervised import supervised_step
from collegium.training.supervised_config import SupervisedConfig
from collegium.training.supervised_data import demonstration_examples
from collegium.training.trainer import Trainer

pytestmark = [
    pytest.mark.engines,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vllm is not installed"),
    pytest.mark.skipif(importlib.util.find_spec("collegium_grpo") is None, reason="collegium-grpo is not installed"),
    pytest.mark.filterwarnings("default"),  # vLLM's own, when it is imported
]
GRPO = {"steps": 6, "prompts": 8, "group": 4, "lr": 3e-3, "sampling": {"max_tokens": 6}, "handshake": 1e-4}
LOCAL = {"use": "collegium-vllm/vllm", "options": {"kv_cache_gb": 0.25}}
SERVED = {"use": "collegium-vllm/vllm-server", "options": {"kv_cache_gb": 0.25}}


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A model that copies in half of the cases and reverses in the others."""
    model = toy_model(hidden_size=64, num_key_value_heads=1)
    domain = toy_domain("copy", right=0.5)
    source = toy_registry().build("task", domain.task.use, domain.task.options)
    examples = demonstration_examples(model.tokenizer, source.demonstrations())
    config = SupervisedConfig(lr=5e-3, batch=64, row_tokens=48)
    trainer = Trainer(model, config, 150)
    for step in range(1, 151):
        supervised_step(trainer, [examples[i] for i in indices_of_step(step, 64, len(examples), seed=0)], config)
    folder = tmp_path_factory.mktemp("start")
    model.save(folder)
    return folder


@pytest.fixture
def job(tmp_path, start):
    """Return a function that makes a job in a folder of that name; the job's own name, which seeds it, is the same."""

    def make(name, engine, **options):
        options = {**GRPO, "engine": engine, **options}
        domains, inputs = [toy_domain("copy")], {"init_from": start}
        return toy_job("collegium-grpo/grpo", options, tmp_path / name / "rl", domains=domains, inputs=inputs)

    return make


def test_a_stage_runs_in_process_and_served_and_both_sample_the_same(job):
    local, served = job("local", LOCAL), job("served", SERVED)
    for each in (local, served):
        outcome = run_toy(each)
        assert outcome.status == "completed", outcome.problem
    rewards = [[row["reward/copy"] for row in journal_of(each)] for each in (local, served)]
    assert rewards[0] == pytest.approx(rewards[1])
    assert len(set(rewards[0])) > 1


def test_a_killed_stage_resumes_with_the_same_numbers(job):
    whole, killed = job("whole", LOCAL), job("killed", LOCAL)
    assert run_toy(whole).status == "completed"
    assert run_and_kill(killed, 3) == -9
    outcome = run_toy(killed)
    assert outcome.status == "completed", outcome.problem
    assert journal_of(killed) == journal_of(whole)
    before, after = weights_of(whole), weights_of(killed)
    assert all(before[name].equal(after[name]) for name in before)


def test_two_ranks_with_split_weights_get_the_numbers_of_one_process(job):
    one = job("one", LOCAL)
    two = job("two", LOCAL).model_copy(update={"launch": LaunchConfig(strategy="fsdp2", processes=2)})
    assert run_toy(one).status == "completed"
    outcome = run_toy_ranks(two)
    assert outcome.status == "completed", outcome.problem
    for expected, found in zip(journal_of(one), journal_of(two), strict=True):
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_the_reward_rises_as_with_the_default_engine(job):
    ends = {}
    for name, engine in (("vllm", LOCAL), ("transformers", {"use": "collegium/transformers", "options": {}})):
        learning = job(name, engine, steps=40, prompts=16, group=8)
        outcome = run_toy(learning)
        assert outcome.status == "completed", outcome.problem
        rewards = [row["reward/copy"] for row in journal_of(learning)]
        ends[name] = sum(rewards[-5:]) / 5
        assert ends[name] > sum(rewards[:5]) / 5
    assert ends["vllm"] == pytest.approx(ends["transformers"], abs=0.15)
