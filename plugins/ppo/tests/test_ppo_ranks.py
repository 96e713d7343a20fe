"""Several ranks do what one process does; adapters in both models."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from collegium.job import StageEvent
from collegium.launch_config import LaunchConfig
from collegium.testing.ranks import run_toy_ranks
from collegium.testing.stages import (
    journal_of,
    run_and_kill,
    run_toy,
)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_two_ranks_do_what_one_process_does(tmp_path, start, reward_model, strategy, ppo_job, state_of):
    options = {"steps": 3, "pretraining": {"rows": 6, "weight": 1.0}, "micro_batch": 8, "entropy_coefficient": 0.01}
    one, two = (
        ppo_job(tmp_path / name / "t", start, inputs={"reward_models": reward_model}, **options)
        for name in ("one", "two")
    )
    assert run_toy(one).status == "completed"
    outcome = run_toy_ranks(two.model_copy(update={"launch": LaunchConfig(strategy=strategy, processes=2)}))
    assert outcome.status == "completed", outcome.problem
    for mine, theirs in zip(journal_of(one), journal_of(two), strict=True):
        assert theirs == pytest.approx(mine, rel=2e-3, abs=2e-4)
    alone, together = state_of(one), state_of(two)
    for weights, others in (
        (alone["trainer"]["model"], together["trainer"]["model"]),
        (alone["states"]["value"]["model"], together["states"]["value"]["model"]),
    ):
        for name, weight in weights.items():
            torch.testing.assert_close(others[name], weight, atol=2e-4, rtol=1e-2)
    assert alone["states"]["value"]["steps"] == together["states"]["value"]["steps"] == 6


@pytest.mark.slow
def test_a_checkpoint_of_two_ranks_goes_on_in_one_process(tmp_path, start, ppo_job):
    job = ppo_job(tmp_path / "t", start, steps=4).model_copy(update={"checkpoint_every": 2})
    ranks = job.model_copy(update={"launch": LaunchConfig(strategy="fsdp2", processes=2)})
    assert run_toy_ranks(ranks).status == "completed"
    rows = journal_of(job)
    newest = max((Path(job.directory) / "checkpoints").iterdir())
    for file in newest.iterdir():
        file.unlink()
    newest.rmdir()
    events: list[StageEvent] = []
    outcome = run_toy(job.model_copy(update={"train": True}), events=events)
    assert outcome.status == "completed", outcome.problem
    assert [event.step for event in events if event.kind == "step"] == [3, 4]
    for mine, theirs in zip(journal_of(job), rows, strict=True):
        assert mine == pytest.approx(theirs, rel=2e-3, abs=2e-4)


@pytest.mark.engines
@pytest.mark.parametrize("value_init", ["reward-model", "policy"])
def test_adapters_in_both_models_resume_exactly(tmp_path, start, reward_model, value_init, ppo_job, state_of, same):
    pytest.importorskip("peft")
    options = {"steps": 5, "adapter": {"rank": 4}, "value_init": value_init, "lr": 5e-3}
    source = {"use": "collegium-reward-model/reward-model"}
    whole, killed = (
        ppo_job(tmp_path / name / "t", start, inputs={"reward_models": reward_model}, reward=source, **options)
        for name in ("whole", "killed")
    )
    killed = killed.model_copy(update={"checkpoint_every": 2})
    outcome = run_toy(whole)
    assert outcome.status == "completed", outcome.problem
    assert run_and_kill(killed, step=3) == -9
    assert run_toy(killed).status == "completed"
    assert journal_of(whole) == journal_of(killed)
    assert all(same(state_of(whole)[name], state_of(killed)[name]) for name in ("trainer", "states"))
    assert any("lora" in name for name in state_of(whole)["states"]["value"]["model"])
    assert "score.weight" in state_of(whole)["states"]["value"]["model"]
