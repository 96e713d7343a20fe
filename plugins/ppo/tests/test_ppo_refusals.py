"""What the stage cannot use is refused, with one error that says why."""

from __future__ import annotations

import pytest
from transformers import AutoModelForSequenceClassification

from collegium.errors import ConfigError
from collegium.launch_config import LaunchConfig
from collegium.testing.stages import (
    TOY_MODEL,
    toy_domain,
    toy_registry,
)
from collegium.training.context import StageContext
from collegium.training.distributed import World
from collegium.training.initialise import initialise
from collegium.training.model_spec import ModelSpec
from collegium_ppo.stage import PpoStage


def test_what_the_stage_would_not_use_is_refused(tmp_path, start, reward_model, ppo_job, problem):
    said = problem(ppo_job(tmp_path / "a", start, value_init="reward-model"))
    assert said.startswith("ConfigError: stage 'a' has value_init: reward-model, and no reward model to start from")
    said = problem(ppo_job(tmp_path / "b", start, value_init="policy", inputs={"reward_models": reward_model}))
    assert "neither its reward nor value_init: policy reads one" in said
    said = problem(ppo_job(tmp_path / "c", start, kl_coefficient=0, inputs={"reference": start}))
    assert "kl_coefficient 0 reads none" in said
    said = problem(ppo_job(tmp_path / "d", start, inputs={"reward_models": start}))
    assert said.startswith("PolicyError: the value function cannot start from")


@pytest.mark.parametrize("edge", ["reference", "reward_models"])
def test_another_tokenizer_is_refused(tmp_path, start, edge, ppo_job, problem):
    other = initialise(ModelSpec(**{**TOY_MODEL, "tokenizer": {"characters": "~#abcdef="}}), 0)
    other.save(tmp_path / "other")
    if edge == "reward_models":
        other.model.config.num_labels = 1
        model = AutoModelForSequenceClassification.from_config(other.model.config)
        model.save_pretrained(tmp_path / "other")
    said = problem(ppo_job(tmp_path / "t", start, inputs={edge: tmp_path / "other"}))
    assert "has another tokenizer than the policy" in said


def test_texts_that_cannot_be_used_are_refused(tmp_path, start, ppo_job, problem):
    domain = toy_domain("copy")
    heldout = toy_registry().build("task", domain.task.use, domain.task.options).tasks("heldout")[0].prompt_text
    cases = {"leak.txt": ("abc\n\n" + heldout + "abc", "held-out prompt"), "empty.txt": (" \n\n ", "is empty")}
    for index, (name, (text, said)) in enumerate(cases.items()):
        (tmp_path / name).write_text(text)
        job = ppo_job(tmp_path / str(index), start, pretraining={"text": str(tmp_path / name)})
        assert said in problem(job)
    assert "cannot be read" in problem(ppo_job(tmp_path / "x", start, pretraining={"text": str(tmp_path / "none")}))


def test_deepspeed_which_holds_one_model_is_refused(tmp_path, start, ppo_job):
    job = ppo_job(tmp_path / "t", start)
    context = StageContext(job, toy_registry(), lambda event: None)
    context.world = World(launch=LaunchConfig(strategy="zero2"))
    with pytest.raises(
        ConfigError, match="trains two models, policy and value function, and strategy 'zero2' holds one"
    ):
        PpoStage(job.options).run(context)
