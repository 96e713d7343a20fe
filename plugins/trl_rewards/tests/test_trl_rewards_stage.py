"""A model learns from a reward function; TRL's own functions give the rewards that they give."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from collegium import Completion, RewardContext, Sample, Task
from collegium.job import ErrorPolicy
from collegium.testing.stages import TOY_MODEL, journal_of, run_toy, toy_domain, toy_job, toy_registry
from collegium.training.initialise import initialise
from collegium.training.model_spec import ModelSpec
from collegium.training.packing import indices_of_step
from collegium.training.supervised import supervised_step
from collegium.training.supervised_config import SupervisedConfig
from collegium.training.supervised_data import demonstration_examples
from collegium.training.trainer import Trainer
from collegium_trl_rewards.reward import TrlFunctionReward


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that copies in half of the cases and reverses in the others."""
    model = initialise(ModelSpec(**TOY_MODEL), 0)
    domain = toy_domain("copy", right=0.5)
    source = toy_registry().build("task", domain.task.use, domain.task.options)
    examples = demonstration_examples(model.tokenizer, source.demonstrations())
    config = SupervisedConfig(lr=5e-3, batch=64, row_tokens=48)
    trainer = Trainer(model, config, 150)
    for step in range(1, 151):
        supervised_step(trainer, [examples[i] for i in indices_of_step(step, 64, len(examples), seed=0)], config)
    path = tmp_path_factory.mktemp("start")
    model.save(path)
    return path


def grpo_job(directory, start, functions, **fields):
    options = {
        "steps": 40,
        "prompts": 16,
        "group": 8,
        "lr": 3e-3,
        "sampling": {"max_tokens": 6},
        "reward": {"use": "collegium-trl-rewards/trl-function", "options": {"functions": functions}},
    }
    domains = [toy_domain("copy")]
    return toy_job("collegium-grpo/grpo", options, directory, domains=domains, inputs={"init_from": start}, **fields)


@pytest.mark.e2e
def test_the_reward_of_a_function_rises_and_the_held_out_score_with_it(tmp_path, start):
    job = grpo_job(tmp_path / "t", start, ["collegium_trl_rewards.functions:exact_match"], evaluate=True)
    outcome = run_toy(job)
    assert outcome.status == "completed", outcome.problem
    rewards = [row["reward/copy"] for row in journal_of(job)]
    assert sum(rewards[-5:]) > sum(rewards[:5]) + 1
    assert outcome.scores["copy"] >= 0.8


@pytest.mark.e2e
def test_a_broken_function_stops_the_stage_and_is_named(tmp_path, start, monkeypatch):
    (tmp_path / "acme_broken.py").write_text("def f(completions, **kwargs):\n    return [1.0]\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    outcome = run_toy(grpo_job(tmp_path / "t", start, ["acme_broken:f"], errors=ErrorPolicy(grace=1)))
    assert outcome.status == "failed"
    assert "acme_broken: acme_broken:f returned 1 rewards for 128 completions" in str(outcome.problem)


@pytest.mark.engines
def test_trls_own_functions_run_and_give_the_rewards_that_they_give():
    try:
        metadata.version("trl")
    except metadata.PackageNotFoundError:
        pytest.skip("trl is not installed")
    from trl.rewards import think_format_reward

    texts = ["<think>\na\n</think>\nb", "<think>a", ""]
    batch = [Sample(Task(text, "q"), Completion(text, token_ids=tuple(range(60)))) for text in texts]
    source = TrlFunctionReward(
        {
            "functions": [
                "trl.rewards:think_format_reward",
                {
                    "function": "trl.rewards:get_soft_overlong_punishment",
                    "weight": 0.5,
                    "arguments": {"max_completion_len": 64, "soft_punish_cache": 16},
                },
            ],
            "format": "conversational",
        }
    )
    source.prepare(RewardContext({}))
    own = think_format_reward([[{"role": "assistant", "content": text}] for text in texts])
    assert [verdict.value for verdict in source.score(batch)] == [form - 0.5 * 12 / 16 for form in own]
    assert own == [1.0, 0.0, 0.0]
