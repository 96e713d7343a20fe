"""The stage `grpo`: it learns, resumes exactly, refills, keeps to its reference, and leaves out what has no reward."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from collegium.errors import ConfigError
from collegium.job import ErrorPolicy, StageEvent, StageJob
from collegium.launch_config import LaunchConfig
from collegium.plugins.registry import Registry
from collegium.testing.ranks import run_toy_ranks
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
from collegium.training.packing import indices_of_step
from collegium.training.supervised import supervised_step
from collegium.training.supervised_config import SupervisedConfig
from collegium.training.supervised_data import demonstration_examples
from collegium.training.trainer import Trainer
from collegium_grpo.stage_config import GrpoConfig

GRPO = {"steps": 6, "prompts": 8, "group": 4, "lr": 3e-3, "sampling": {"max_tokens": 6}}


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


def grpo_job(directory: Path, start: Path, *, verifier: dict[str, Any] | None = None, **options: Any) -> StageJob:
    domains = [toy_domain("copy", verifier=verifier)]
    return toy_job("collegium-grpo/grpo", {**GRPO, **options}, directory, domains=domains, inputs={"init_from": start})


def test_the_reward_rises_and_the_held_out_score_with_it(tmp_path, start):
    job = grpo_job(tmp_path / "t", start, steps=60, prompts=16, group=8)
    before = run_toy(job.model_copy(update={"train": False, "model": str(start), "evaluate_on": job.domains}))
    after = run_toy(job.model_copy(update={"evaluate_on": job.domains}))
    assert after.status == "completed", after.problem
    assert after.scores["copy"] >= max(0.9, before.scores["copy"] + 0.2)
    rewards = [row["reward/copy"] for row in journal_of(job)]
    assert sum(rewards[-5:]) > sum(rewards[:5]) + 1
    assert after.rollouts == 60 * 128


@pytest.mark.parametrize(
    "options",
    [
        {},
        {
            "epochs": 2,
            "minibatches": 2,
            "sampler": {"use": "dynamic"},
            "max_refills": 2,
            "loss": {"use": "clipped", "kl_coefficient": 0.01, "importance": "tis"},
            "advantages": ["outcome", {"use": "kl", "coefficient": 0.01}],
            "refresh_reference_every": 4,
            "schedule": "linear",
        },
        {"staleness": 1, "loss": {"use": "clipped", "importance": "tis"}},
        {
            "staleness": 4,
            "sampler": {"use": "dynamic"},
            "max_refills": 2,
            "loss": {"use": "clipped", "kl_coefficient": 0.01, "importance": "icepop"},
            "refresh_reference_every": 4,
        },
        {
            "staleness": 1,
            "loss": {"use": "clipped", "importance": "tis"},
            "sampling": {"max_tokens": 6, "temperature": 0.8, "top_p": 0.97, "keep_mask": True},
        },
    ],
    ids=["default", "everything", "one batch ahead", "four batches ahead", "a truncated batch ahead"],
)
def test_a_killed_stage_ends_with_the_numbers_of_one_that_was_not(tmp_path, start, options):
    whole = grpo_job(tmp_path / "whole" / "t", start, steps=11, **options)
    killed = grpo_job(tmp_path / "killed" / "t", start, steps=11, **options).model_copy(update={"checkpoint_every": 5})
    first = run_toy(whole)
    assert first.status == "completed", first.problem
    assert run_and_kill(killed, step=8) == -9
    events: list[StageEvent] = []
    second = run_toy(killed, events=events)
    assert [event.step for event in events if event.kind == "step"] == list(range(6, 12))
    one, other = weights_of(whole), weights_of(killed)
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert journal_of(whole) == journal_of(killed)
    samples = [(Path(job.directory) / "samples.jsonl").read_text() for job in (whole, killed)]
    assert samples[0] == samples[1]
    assert (first.rollouts, first.tokens_generated) == (second.rollouts, second.tokens_generated)


def test_each_batch_is_as_many_updates_old_as_the_recipe_says(tmp_path, start):
    job = grpo_job(tmp_path / "t", start, staleness=2, loss={"use": "clipped", "importance": "tis"})
    assert run_toy(job).status == "completed"
    rows = journal_of(job)
    assert [row["stale/lag"] for row in rows] == [0, 1, 2, 2, 2, 2]
    assert {row["stale/dropped"] for row in rows} == {0.0}
    # the trainer's weights have moved on from those that sampled, and the correction sees it
    assert rows[0]["behaviour_gap"] < 1e-4
    assert all(row["behaviour_gap"] > 1e-3 for row in rows[2:])


@pytest.mark.parametrize(
    ("strategy", "sampling"),
    [("ddp", {}), ("fsdp2", {}), ("fsdp2", {"temperature": 0.8, "top_p": 0.97, "keep_mask": True})],
)
def test_two_ranks_run_ahead_with_the_numbers_of_one_process(tmp_path, start, strategy, sampling):
    options = {"staleness": 1, "loss": {"use": "clipped", "importance": "tis"}, "prompts": 5, "lr": 3e-4}
    options["sampling"] = {"max_tokens": 6, **sampling}
    one = grpo_job(tmp_path / "one" / "t", start, **options)
    two = grpo_job(tmp_path / "two" / "t", start, **options)
    two = two.model_copy(update={"launch": LaunchConfig(strategy=strategy, processes=2)})
    assert run_toy(one).status == "completed"
    outcome = run_toy_ranks(two)
    assert outcome.status == "completed", outcome.problem
    for expected, found in zip(journal_of(one), journal_of(two), strict=True):
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_stale_rollouts_without_a_correction_are_refused_when_the_recipe_is_read():
    with pytest.raises(ValueError, match=r"importance: tis"):
        GrpoConfig(staleness=1)
    with pytest.raises(ValueError, match=r"loss: \{use: cispo, importance: tis\}"):
        GrpoConfig(staleness=1, loss={"use": "cispo", "clip_high": 2.0})
    with pytest.raises(ValueError, match=r"importance: tis"):
        GrpoConfig(staleness=1, loss={"use": "clipped", "off_policy_delta": 1.0})
    window = {"use": "windowed", "alpha": -1, "beta": 1, "tau": 0.1}
    with pytest.raises(ValueError, match=r"loss: \{use: windowed, anchor: behaviour\}"):
        GrpoConfig(staleness=1, loss=window)
    GrpoConfig(staleness=1, loss={**window, "anchor": "behaviour"})
    GrpoConfig(staleness=1, loss={"use": "clipped", "importance": "icepop"})
    GrpoConfig(staleness=1, loss={"use": "acme/clipped"})


def test_groups_without_a_gradient_are_replaced(tmp_path, start):
    job = grpo_job(tmp_path / "t", start, sampler={"use": "dynamic"}, max_refills=4)
    assert run_toy(job).status == "completed"
    rows = journal_of(job)
    assert sum(row["groups/drawn"] for row in rows) > sum(row["groups/kept"] for row in rows)
    assert all(row["advantage/outcome/abs"] > 0.1 for row in rows if row["groups/kept"])


class Mute(ToyVerifier):
    """Fail on half of the words."""

    def verify(self, completion, task):
        if task.prompt_text[1] in "abc":
            raise RuntimeError("cannot judge this")
        return super().verify(completion, task)


def test_rollouts_whose_judging_failed_are_left_out(tmp_path, start, monkeypatch):
    monkeypatch.setattr("collegium.testing.toy_domain.ToyVerifier", Mute)
    job = grpo_job(tmp_path / "t", start).model_copy(update={"errors": ErrorPolicy(budget=1.0)})
    outcome = run_toy(job)
    assert outcome.status == "completed", outcome.problem
    assert all(0.1 < row["verdicts/error"] < 0.9 for row in journal_of(job))


def test_errors_beyond_the_budget_stop_the_run_and_name_the_owner(tmp_path, start, monkeypatch):
    monkeypatch.setattr("collegium.testing.toy_domain.ToyVerifier", Mute)
    outcome = run_toy(grpo_job(tmp_path / "t", start))
    assert (outcome.status, outcome.kind, outcome.owner) == ("failed", "VerifierError", "collegium-toy")
    assert "error budget" in outcome.problem


def test_a_quarantined_domain_no_longer_moves_the_policy(tmp_path, start, monkeypatch):
    class Dead(ToyVerifier):
        def verify(self, completion, task):
            raise RuntimeError("dead")

    monkeypatch.setattr("collegium.testing.toy_domain.ToyVerifier", Dead)
    policy = ErrorPolicy(on_exceeded="quarantine")
    job = grpo_job(tmp_path / "t", start).model_copy(update={"errors": policy})
    assert run_toy(job).status == "completed"
    rows = journal_of(job)
    assert rows[-1]["verdicts/abstain"] == 1.0
    assert "loss" not in rows[-1]


def test_with_a_reference_equal_to_the_policy_the_first_kl_is_zero(tmp_path, start):
    loss = {"use": "clipped", "kl_coefficient": 1.0, "kl_estimator": "k3"}
    job = grpo_job(tmp_path / "t", start, loss=loss, steps=5, refresh_reference_every=3)
    assert run_toy(job).status == "completed"
    kl = [row["kl"] for row in journal_of(job)]
    assert kl[0] == pytest.approx(0, abs=1e-6)
    assert kl[1] > 1e-5
    assert kl[2] > 1e-5
    assert kl[3] == pytest.approx(0, abs=1e-6)


def test_a_reference_that_nothing_reads_is_refused(tmp_path, start):
    outcome = run_toy(grpo_job(tmp_path / "t", start, refresh_reference_every=3))
    assert (outcome.kind, outcome.owner) == ("ConfigError", "collegium-grpo")
    assert "neither its loss nor its advantages read one" in outcome.problem


@pytest.mark.parametrize(
    ("sampling", "said"),
    [({"temperature": 0}, "there is no distribution to learn"), ({"top_p": 0.9}, "add keep_mask: true")],
)
def test_sampling_from_another_distribution_than_the_policys_is_refused(sampling, said):
    with pytest.raises(ValueError, match=said):
        GrpoConfig(sampling=sampling)


COOL = {"max_tokens": 6, "temperature": 0.7}
CUT = {"max_tokens": 6, "top_p": 0.97, "keep_mask": True}


@pytest.mark.parametrize("sampling", [COOL, CUT], ids=["temperature", "keep_mask"])
def test_the_sampled_distribution_is_the_one_that_learns(tmp_path, start, sampling):
    loss = {"use": "clipped", "kl_coefficient": 0.001}
    options = {"prompts": 16, "group": 8, "sampling": sampling, "loss": loss, "minibatches": 2}
    job = grpo_job(tmp_path / "t", start, steps=30, lr=1e-3, **options)
    outcome = run_toy(job)
    assert outcome.status == "completed", outcome.problem
    rows = journal_of(job)
    assert max(row["behaviour_gap"] for row in rows) < 1e-4
    assert rows[0]["reward/copy"] < 0.8
    assert sum(row["reward/copy"] for row in rows[-5:]) / 5 > 0.9


@pytest.mark.parametrize(
    "loss",
    [{"use": "windowed", "alpha": -0.5, "beta": 0.5, "tau": 0.1, "anchor": anchor} for anchor in ("old", "behaviour")],
    ids=["old", "behaviour"],
)
def test_the_reward_rises_with_the_windowed_loss(tmp_path, start, loss):
    advantages = [{"use": "outcome", "std": False}]
    options = {"steps": 40, "prompts": 16, "group": 8, "loss": loss, "minibatches": 2, "advantages": advantages}
    job = grpo_job(tmp_path / "t", start, **options)
    outcome = run_toy(job)
    assert outcome.status == "completed", outcome.problem
    rows = journal_of(job)
    assert sum(row["reward/copy"] for row in rows[-5:]) > sum(row["reward/copy"] for row in rows[:5]) + 1


def test_the_stage_is_planned_without_torch_and_knows_its_edges():
    config = Registry.discover().find("stage", "grpo").config_class()
    assert config is GrpoConfig
    assert config.requires == {"init_from"}
    assert "reference" in config.accepts
    with pytest.raises((ValueError, ConfigError), match="advantages"):
        GrpoConfig(advantages=[])
