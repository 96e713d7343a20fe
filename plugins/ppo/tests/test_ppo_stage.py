"""The stage: it learns, resumes exactly, starts its value where it should, and leaves out what has no verdict."""

from __future__ import annotations

import json
from itertools import pairwise, product
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from collegium.job import ErrorPolicy, InputArtifact, StageEvent
from collegium.testing.stages import (
    TOY_MODEL,
    journal_of,
    run_and_kill,
    run_toy,
    toy_domain,
    toy_job,
    toy_registry,
    weights_of,
)
from collegium.testing.toy_domain import ToyVerifier
from collegium.training.initialise import initialise
from collegium.training.model_spec import ModelSpec
from collegium_ppo.pretraining import PretrainingMix


def test_the_reward_rises_the_kl_is_bounded_and_the_value_function_foresees_more(tmp_path, start, ppo_job):
    job = ppo_job(tmp_path / "t", start, steps=30, prompts=128, minibatches=4)
    before = run_toy(job.model_copy(update={"train": False, "model": str(start), "evaluate_on": job.domains}))
    after = run_toy(job.model_copy(update={"evaluate_on": job.domains}))
    assert after.status == "completed", after.problem
    assert after.scores["copy"] >= max(0.85, before.scores["copy"] + 0.2)
    rows = journal_of(job)
    assert sum(row["reward/copy"] for row in rows[-5:]) > sum(row["reward/copy"] for row in rows[:5]) + 1
    assert rows[0]["kl"] == pytest.approx(0, abs=1e-5)
    assert 0.1 < max(row["kl"] for row in rows) < 5
    assert rows[-1]["value/loss"] < 0.1 * rows[0]["value/loss"]
    assert after.rollouts == 30 * 128


def test_a_stronger_penalty_keeps_the_policy_nearer_to_its_reference(tmp_path, start, ppo_job):
    kl = []
    for coefficient in (0.0001, 5.0):
        job = ppo_job(
            tmp_path / str(coefficient) / "t", start, steps=10, prompts=64, lr=5e-4, kl_coefficient=coefficient
        )
        assert run_toy(job).status == "completed"
        kl.append(sum(row["kl"] for row in journal_of(job)[-3:]) / 3)
    assert kl[1] < 0.5 * kl[0]


def test_an_adaptive_coefficient_grows_while_the_kl_is_above_its_target(tmp_path, start, ppo_job):
    job = ppo_job(tmp_path / "t", start, steps=6, kl_target=0.01, kl_coefficient=0.1)
    assert run_toy(job).status == "completed"
    rows = journal_of(job)
    for row, following in pairwise(rows):
        error = max(-0.2, min(0.2, row["kl"] / 0.01 - 1))
        assert following["kl/coefficient"] == pytest.approx(row["kl/coefficient"] * (1 + 0.1 * error))
    assert rows[-1]["kl/coefficient"] > 0.1


@pytest.mark.parametrize(
    "options",
    [
        {},
        {
            "epochs": 2,
            "group": 2,
            "prompts": 16,
            "kl_target": 1.0,
            "kl_estimator": "k3",
            "missing_eos": -1.0,
            "whiten_rewards": True,
            "entropy_coefficient": 0.01,
            "pretraining": {"rows": 16, "weight": 0.5},
            "schedule": "linear",
            "warmup": 3,
        },
    ],
    ids=["default", "everything"],
)
def test_a_killed_stage_ends_with_the_numbers_of_one_that_was_not(tmp_path, start, options, ppo_job, state_of, same):
    whole = ppo_job(tmp_path / "whole" / "t", start, steps=7, **options)
    killed = ppo_job(tmp_path / "killed" / "t", start, steps=7, **options).model_copy(update={"checkpoint_every": 3})
    first = run_toy(whole)
    assert first.status == "completed", first.problem
    assert run_and_kill(killed, step=5) == -9
    events: list[StageEvent] = []
    assert run_toy(killed, events=events).status == "completed"
    assert [event.step for event in events if event.kind == "step"] == [4, 5, 6, 7]
    one, other = weights_of(whole), weights_of(killed)
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert journal_of(whole) == journal_of(killed)
    states = [state_of(job) for job in (whole, killed)]
    assert states[0]["states"]["value"]["optimizer"]
    assert all(same(states[0][name], states[1][name]) for name in ("trainer", "states"))


def test_the_value_starts_from_the_reward_model_that_the_edge_gives(tmp_path, start, reward_model, ppo_job, state_of):
    job = ppo_job(tmp_path / "t", start, steps=1, value_lr=1e-12, inputs={"reward_models": reward_model})
    outcome = run_toy(job)
    assert outcome.status == "completed", outcome.problem
    value = state_of(job)["states"]["value"]["model"]
    expected = load_file(reward_model / "model.safetensors")
    assert value.keys() >= expected.keys()
    assert all(torch.allclose(value[name], weight, rtol=0, atol=1e-9) for name, weight in expected.items())


def test_value_init_policy_leaves_the_reward_model_to_the_reward(tmp_path, start, reward_model, ppo_job, state_of):
    source = {"use": "collegium-reward-model/reward-model"}
    edges = {"reward_models": reward_model}
    job = ppo_job(tmp_path / "t", start, steps=1, value_lr=1e-12, value_init="policy", reward=source, inputs=edges)
    outcome = run_toy(job)
    assert outcome.status == "completed", outcome.problem
    head = state_of(job)["states"]["value"]["model"]["score.weight"]
    assert not torch.allclose(head, load_file(reward_model / "model.safetensors")["score.weight"], atol=1e-3)
    assert journal_of(job)[0]["score"] == pytest.approx(journal_of(job)[0]["reward"], rel=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"sampling": {"max_tokens": 6, "temperature": 0.7}, "entropy_coefficient": 0.01},
        {"sampling": {"max_tokens": 6, "top_p": 0.9, "keep_mask": True}},
    ],
    ids=["temperature", "keep_mask"],
)
def test_the_distribution_that_is_sampled_is_the_one_that_is_trained(tmp_path, start, options, ppo_job):
    job = ppo_job(tmp_path / "t", start, steps=3, **options)
    outcome = run_toy(job)
    assert outcome.status == "completed", outcome.problem
    rows = journal_of(job)
    assert max(row["behaviour_gap"] for row in rows) < 1e-4
    assert rows[0]["kl"] == pytest.approx(0, abs=1e-4)


def test_completions_cut_at_the_limit_get_the_penalty(tmp_path, start, ppo_job):
    job = ppo_job(tmp_path / "t", start, steps=1, sampling={"max_tokens": 3}, missing_eos=-10.0, score_scale=10.0)
    assert run_toy(job).status == "completed"
    row = journal_of(job)[0]
    assert row["truncated"] > 0.9
    assert row["missing_eos"] == pytest.approx(row["truncated"])
    assert row["score"] <= -10 * row["truncated"] + 10 * (1 - row["truncated"]) + 1e-5


def test_a_pretraining_mix_keeps_what_the_texts_say(tmp_path, start, ppo_job):
    text = tmp_path / "texts.txt"
    text.write_text("fedcba=abcdef\n\nfedcba=fedcba\n")
    losses = []
    for weight in (None, 1.0):
        mix = {"text": str(text), "rows": 8, "weight": weight or 1e-9}
        job = ppo_job(tmp_path / str(weight) / "t", start, steps=8, pretraining=mix)
        outcome = run_toy(job)
        assert outcome.status == "completed", outcome.problem
        losses.append([row["pretraining/loss"] for row in journal_of(job)])
    assert losses[1][0] == pytest.approx(losses[0][0], rel=0.2)
    assert losses[1][-1] < 0.5 * losses[0][-1]


def test_the_mix_takes_the_domains_texts_eight_for_each_rollout(tmp_path, start, monkeypatch, ppo_job):
    made: list[int] = []
    init = PretrainingMix.__init__
    monkeypatch.setattr(
        PretrainingMix, "__init__", lambda self, examples, weight, rows, *rest: (made.append(rows), init(self, examples, weight, rows, *rest))[1]
    )  # fmt: skip
    outcome = run_toy(ppo_job(tmp_path / "t", start, steps=1, prompts=8, minibatches=2, pretraining={}))
    assert outcome.status == "completed", outcome.problem
    assert made == [8 * 4]


class Mute(ToyVerifier):
    """Fail on half of the words."""

    def verify(self, completion, task):
        if task.prompt_text[1] in "abc":
            raise RuntimeError("cannot judge this")
        return super().verify(completion, task)


def test_rollouts_whose_judging_failed_are_left_out(tmp_path, start, monkeypatch, ppo_job):
    monkeypatch.setattr("collegium.testing.toy_domain.ToyVerifier", Mute)
    job = ppo_job(tmp_path / "t", start).model_copy(update={"errors": ErrorPolicy(budget=1.0)})
    outcome = run_toy(job)
    assert outcome.status == "completed", outcome.problem
    for row in journal_of(job):
        assert 0.1 < row["verdicts/error"] < 0.9
        assert row["score"] == pytest.approx(row["reward"])


def test_a_quarantined_domain_no_longer_moves_either_model(tmp_path, start, monkeypatch, ppo_job, state_of):
    class Dead(ToyVerifier):
        def verify(self, completion, task):
            raise RuntimeError("dead")

    monkeypatch.setattr("collegium.testing.toy_domain.ToyVerifier", Dead)
    job = ppo_job(tmp_path / "t", start).model_copy(update={"errors": ErrorPolicy(on_exceeded="quarantine")})
    outcome = run_toy(job)
    assert outcome.status == "completed", outcome.problem
    assert "loss" not in journal_of(job)[-1]
    assert state_of(job)["states"]["value"]["steps"] == 0


def test_a_reward_model_trained_on_preferences_teaches_the_policy_and_its_value_function(tmp_path, start, ppo_job):
    words = ["".join(letters) for letters in product("abcdef", repeat=3) if letters[0] != letters[2]]
    domain = toy_domain("copy")
    tasks = toy_registry().build("task", domain.task.use, domain.task.options).tasks("heldout")
    heldout = {task.prompt_text for task in tasks}
    rows = [{"prompt": f"#{word}=", "chosen": word, "rejected": word[::-1]} for word in words]
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows if row["prompt"] not in heldout))
    options = {"data": [str(file)], "steps": 100, "lr": 3e-3, "batch": 32}
    learnt = toy_job(
        "collegium-reward-model/reward-model", options, tmp_path / "rm", domains=[], inputs={"init_from": start}
    )
    assert run_toy(learnt).metrics["heldout/accuracy"] > 0.95
    options = {"steps": 25, "prompts": 128, "minibatches": 4, "lr": 5e-4, "value_lr": 1e-3}
    source = {"use": "collegium-reward-model/reward-model"}
    edges = {"reward_models": Path(learnt.directory) / "output" / "model"}
    job = ppo_job(tmp_path / "t", start, reward=source, inputs=edges, **options)
    before = run_toy(job.model_copy(update={"train": False, "model": str(start), "evaluate_on": job.domains}))
    after = run_toy(job.model_copy(update={"evaluate_on": job.domains}))
    assert after.status == "completed", after.problem
    assert after.scores["copy"] > before.scores["copy"] + 0.1  # the verifier, which it was not trained on
    journal = journal_of(job)
    assert sum(row["score"] for row in journal[-5:]) / 5 > journal[0]["score"] + 2
    assert sum(row["value/explained_variance"] for row in journal[-5:]) / 5 > 0.1
    assert journal[-1]["kl"] < 5


def test_the_reference_is_the_one_that_the_recipe_names(tmp_path, start, ppo_job):
    other = initialise(ModelSpec(**TOY_MODEL), 9)
    other.save(tmp_path / "other")
    job = ppo_job(tmp_path / "t", start, steps=1)
    named = [InputArtifact(source="other", path=str(tmp_path / "other"))]
    assert run_toy(job.model_copy(update={"inputs": {**job.inputs, "reference": named}})).status == "completed"
    assert journal_of(job)[0]["kl"] > 1
