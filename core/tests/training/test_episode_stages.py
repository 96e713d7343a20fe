"""Episodes in whole stages: what is trained, what is dropped, and the same numbers after a kill."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from collegium import Error
from collegium.job import ErrorPolicy, StageJob
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
from collegium.training.batch import RolloutBatch
from collegium.training.context import StageContext
from collegium.training.evaluate import evaluate_domains
from collegium.training.language_model import LanguageModel
from collegium.training.packing import Example, lay_out
from collegium.training.policy_update import PolicyUpdate
from collegium.training.rollout_config import RolloutConfig
from collegium.training.rollouts import RolloutCollector
from collegium.training.trainer import Trainer

SAMPLING = {"max_tokens": 14}
OPTIONS: dict[str, Any] = {"steps": 4, "prompts": 6, "group": 4, "micro_batch": 5, "lr": 1e-3, "sampling": SAMPLING}
TOOL = {"max_turns": 4}


def collector(folder: Path, policy: LanguageModel, **environment: Any) -> RolloutCollector:
    """Return a collector of the toy domain with its environment, and verdicts of its verifier."""
    domain = toy_domain("copy", {"partial": True}, environment={**TOOL, **environment})
    job = toy_job("collegium-grpo/grpo", {}, folder, domains=[domain], errors=ErrorPolicy(budget=1.0))
    context = StageContext(job, toy_registry(), lambda event: None)
    config = RolloutConfig(**OPTIONS)
    reward = context.build_reward(_use("collegium/domain-verifier"))
    return RolloutCollector(context, policy, config, sampler=context.build(config.sampler, "sampler"), reward=reward)


def _use(name: str) -> Any:
    from collegium.component import Use

    return Use(use=name)


def job_of(folder: Path, start: Path, **options: Any) -> StageJob:
    """Return a job that trains on episodes and rows whose environment fails now and then."""
    domains = [toy_domain("copy", {"partial": True}, environment={**TOOL, "broken": "abc"}), toy_domain("reverse")]
    return toy_job(
        "collegium-grpo/grpo", {**OPTIONS, **options}, folder, id="agent", domains=domains,
        inputs={"init_from": start}, errors=ErrorPolicy(budget=1.0), checkpoint_every=1,
    )  # fmt: skip


@pytest.fixture
def start(tmp_path: Path) -> Path:
    toy_model(3).save(tmp_path / "start")
    return tmp_path / "start"


def test_a_batch_of_episodes_masks_what_the_environment_said(tmp_path):
    batch, metrics = collector(tmp_path, toy_model(3)).collect(1)
    holes = batch.attention_mask & ~batch.completion_mask
    assert metrics["episodes/turns"] > 1.2
    assert metrics["episodes/failed"] == 0
    assert metrics["length"] == pytest.approx(float(batch.completion_lengths.float().mean()))
    for row, sample in enumerate(batch.samples):
        prompt = len(sample.task.prompt_text)
        spoken = [token for turn in sample.completion.turns if not turn.sampled for token in turn.token_ids]
        assert batch.token_ids[row][holes[row]][prompt:].tolist() == spoken
        assert batch.completion_lengths[row] == sample.completion.length
        assert not batch.behaviour[row][holes[row]].any()


class PlainLoss:
    """``-A log p`` of each token."""

    needs = frozenset({"current", "advantage"})

    def per_token(self, streams: Any) -> Any:
        from collegium.training.streams import LossOutput

        return LossOutput(-streams.advantage * streams.current)


def test_a_step_has_the_gradient_of_the_sampled_tokens_alone(tmp_path):
    policy = toy_model(3)
    batch, _ = collector(tmp_path, policy).collect(1)
    assert bool((batch.attention_mask & ~batch.completion_mask).sum() > batch.token_ids.shape[0] * 5)
    batch.advantage = torch.linspace(-1, 1, len(batch))[:, None] * batch.completion_mask
    expected = gradient_norm(policy, batch, batch.completion_mask)
    replies_too = batch.attention_mask.clone()
    replies_too[:, :5] = False
    other = gradient_norm(policy, batch, replies_too)
    config = RolloutConfig(**OPTIONS, max_grad_norm=1e9)
    metrics = PolicyUpdate(Trainer(policy, config, 4), PlainLoss(), config)(batch, random.Random(0))  # type: ignore[arg-type]
    assert metrics["grad_norm"] == pytest.approx(expected, rel=1e-4)
    assert other != pytest.approx(expected, rel=2e-3)


def gradient_norm(policy: LanguageModel, batch: RolloutBatch, mask: torch.Tensor) -> float:
    """Return the norm of the gradient of ``-A log p``, averaged over the mask, by the plainest way there is."""
    policy.model.zero_grad()
    logits = policy.model(batch.token_ids, attention_mask=batch.attention_mask.long()).logits.float()
    values = logits[:, :-1].log_softmax(dim=-1).gather(2, batch.token_ids[:, 1:, None])[..., 0]
    weighed = -torch.linspace(-1, 1, len(batch))[:, None] * values
    (weighed[mask[:, 1:]].sum() / mask.sum()).backward()
    norm = torch.stack([each.grad.norm() for each in policy.model.parameters() if each.grad is not None]).norm()
    policy.model.zero_grad()
    return float(norm)


def test_a_failing_environment_drops_its_rows_only_and_is_charged(tmp_path):
    collecting = collector(tmp_path, toy_model(3), broken="abc")
    collecting.engine.sync(collecting.policy, 0)
    rollouts = collecting.draw(1)
    batch, _ = collecting.batch(rollouts)
    failed = [each for each in rollouts.groups if each.samples[0].task.prompt_text[1] in "abc"]
    whole = [each for each in rollouts.groups if each.samples[0].task.prompt_text[1] not in "abc"]
    cut = [each for each in failed if len(each.failed) < 4]  # episodes that were cut before the tool was asked stay
    assert failed
    assert whole
    kept = sum(4 - len(each.failed) for each in failed) + 4 * len(whole)
    assert len(batch) == kept < 24
    assert cut or kept == 4 * len(whole)
    assert rollouts.metrics["episodes/failed"] == pytest.approx((24 - kept) / 24)
    host = collecting.hosts["copy"]
    assert (host.budget.judged, host.budget.errors) == (24, 24 - kept)
    for group in failed:
        for row in group.failed:
            verdict = group.verdicts[row]
            assert isinstance(verdict, Error)
            assert verdict.owner == "collegium-toy"
            assert "the tool is broken" in verdict.reason
    assert all(not each.failed for each in whole)


def test_an_environment_over_its_budget_stops_the_stage_under_its_name(tmp_path, start):
    domain = toy_domain("copy", environment={**TOOL, "broken": "abcdef"})
    job = toy_job("collegium-grpo/grpo", OPTIONS, tmp_path / "job", domains=[domain], inputs={"init_from": start})
    outcome = run_toy(job)
    assert outcome.status == "failed"
    assert outcome.owner == "collegium-toy"
    assert "spent its error budget in domain 'copy'" in outcome.problem


@pytest.mark.parametrize("staleness", [0, 1])
def test_a_killed_stage_ends_with_the_numbers_of_one_that_was_not(tmp_path, start, staleness):
    options = {"staleness": staleness, "loss": "double-sided", "advantages": [{"use": "outcome", "std": False}]}
    whole, killed = (job_of(tmp_path / name, start, **options) for name in ("whole", "killed"))
    assert run_toy(whole).status == "completed"
    assert run_and_kill(killed, 2) == -9
    assert run_toy(killed).status == "completed"
    assert journal_of(killed) == journal_of(whole)
    assert any(row["episodes/failed"] > 0 for row in journal_of(whole))
    ours, theirs = weights_of(killed), weights_of(whole)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_evaluation_plays_episodes_and_counts_failed_ones_as_errors(tmp_path):
    policy = toy_model(3)
    job = job_of(tmp_path, tmp_path).model_copy(update={"evaluate_on": job_of(tmp_path, tmp_path).domains})
    spec = job.evaluation.model_copy(update={"min_scored": 0.0})
    context = StageContext(job, toy_registry(), lambda event: None)
    results = evaluate_domains(policy, context.evaluation_domains, spec)
    host = context.evaluation_domains["copy"].environment
    assert host is not None
    assert results["copy"].errors == host.budget.errors
    assert host.budget.judged == results["copy"].tasks == 20
    assert results["reverse"].errors == 0


def test_masked_examples_train_what_the_model_writes_and_read_the_rest():
    examples = [Example((5, 6, 7, 8, 1), 2, "a", (True, False, True)), Example((5, 9, 1), 1, "b")]
    laid = lay_out([examples], 0)
    assert laid.trained.tolist() == [[False, False, True, False, True, False, True, True]]
    assert [each.trained_tokens for each in examples] == [2, 2]


def test_supervised_steps_count_and_learn_only_the_models_turns(tmp_path, start):
    turns = [{"text": "ab", "sampled": True}, {"text": "ff", "sampled": False}, {"text": "c", "sampled": True}]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps({"prompt": f"#{word}=", "completion": turns}) + "\n" for word in ("aaa", "bbb")))
    options = {"data": str(data), "steps": 3, "batch": 2, "row_tokens": 32, "lr": 1e-2, "layout": "length-grouped"}
    job = toy_job("collegium-sft/sft", options, tmp_path / "sft", domains=[], inputs={"init_from": start})
    outcome = run_toy(job)
    assert outcome.status == "completed", outcome.problem
    assert {row["tokens"] for row in journal_of(job)} == {2.0 * 5}  # "ab" and "c" with their ends
