"""The value function, the experience of a batch, and the update: each against what is computed another way."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from collegium.errors import PolicyError
from collegium.training.batch import RolloutBatch
from collegium.training.language_model import LanguageModel
from collegium.training.reference import Reference
from collegium.training.trainer import Trainer
from collegium_ppo.config import PpoConfig
from collegium_ppo.estimation import explained_variance
from collegium_ppo.experience import Experience, ValueTargets
from collegium_ppo.kl_controller import KlController
from collegium_ppo.pretraining import MixedTrainer, PretrainingMix, cut
from collegium_ppo.update import PpoUpdate, ValueUpdate, minibatches
from collegium_ppo.value_model import ValueModel, score_values

SMALL: dict[str, Any] = {"prompts": 6, "minibatches": 1, "lr": 1e-3, "value_lr": 1e-3, "sampling": {"max_tokens": 4}}


def config(**options: Any) -> PpoConfig:
    return PpoConfig(**{**SMALL, **options})


def experience(policy: LanguageModel, value: ValueModel, start: Path, **options: Any) -> Experience:
    chosen = config(**options)
    reference = Reference(str(start), policy) if chosen.penalises_kl else None
    return Experience(policy, value, reference, KlController(chosen.kl_coefficient, chosen.kl_target), chosen)


@pytest.fixture
def value(start: Path) -> ValueModel:
    return ValueModel.from_policy(str(start), "cpu", seed=0)


def test_a_value_from_a_reward_model_is_what_it_says_of_the_text_so_far(reward_model, policy, batch):
    found = score_values(ValueModel.from_reward_model(str(reward_model), "cpu"), batch, micro_batch=4)
    theirs = AutoModelForSequenceClassification.from_pretrained(reward_model)
    for row, (ids, mask) in enumerate(zip(batch.token_ids, batch.completion_mask, strict=True)):
        for token in mask.nonzero()[:, 0].tolist():
            expected = theirs(input_ids=ids[None, :token]).logits.item()
            assert found[row, token].item() == pytest.approx(expected, abs=1e-5)
    assert not found[~batch.completion_mask].any()


def test_a_value_from_the_policy_has_its_body_and_a_head_of_the_seed(start, value):
    body = AutoModelForCausalLM.from_pretrained(start).model.state_dict()
    mine = value.model.base_model.state_dict()
    assert all(torch.equal(weight, mine[name]) for name, weight in body.items())
    assert torch.equal(value.head, ValueModel.from_policy(str(start), "cpu", seed=0).head)
    assert not torch.equal(value.head, ValueModel.from_policy(str(start), "cpu", seed=1).head)
    assert value.vocabulary == len(body["embed_tokens.weight"])


def test_a_language_model_is_no_reward_model_and_a_reward_model_no_policy(start, reward_model, tmp_path):
    with pytest.raises(PolicyError, match=r"lacks the weights score\.weight"):
        ValueModel.from_reward_model(str(start), "cpu")
    with pytest.raises(PolicyError, match="has a scalar head already"):
        ValueModel.from_policy(str(reward_model), "cpu", 0)
    with pytest.raises(PolicyError, match="is not a model checkpoint"):
        ValueModel.from_reward_model(str(tmp_path / "nowhere"), "cpu")


def test_the_return_of_every_token_is_the_score_less_the_penalties_from_there_on(policy, value, batch, start, tmp_path):
    with torch.no_grad():
        policy.model.get_input_embeddings().weight.mul_(1.02)
    batch.behaviour = policy.logprobs(batch).detach()
    options = {
        "gae_lambda": 1.0,
        "kl_coefficient": 0.3,
        "score_scale": 10,
        "missing_eos": -10,
        "whiten_advantages": False,
    }
    targets, metrics = experience(policy, value, start, **options)(batch)
    log_ratio = batch.old - batch.reference
    scores = [10.0, 0.0, None, -10.0, 10.0, 2.5]
    for row, final in enumerate(scores):
        mask = batch.completion_mask[row]
        if final is None:
            assert not targets.returns[row].any()
            assert not batch.advantage[row].any()
            continue
        later = [final - 0.3 * log_ratio[row, token:].sum().item() for token in mask.nonzero()[:, 0].tolist()]
        assert targets.returns[row, mask].tolist() == pytest.approx(later, abs=1e-4)
        torch.testing.assert_close(batch.advantage[row], targets.returns[row] - targets.old[row] * mask)
    judged = [0, 1, 3, 4, 5]
    assert metrics["score"] == pytest.approx(12.5 / 5)
    assert metrics["missing_eos"] == pytest.approx(0.2)
    assert metrics["kl"] == pytest.approx(log_ratio[judged].sum().item() / 5, rel=1e-5)
    assert metrics["kl/penalty"] == pytest.approx(-0.3 * metrics["kl"])
    assert abs(metrics["kl"]) > 1e-3


def test_whitened_advantages_have_mean_0_and_variance_1_over_the_rows_with_a_verdict(policy, value, batch, start):
    experience(policy, value, start)(batch)
    judged = batch.completion_mask & ~batch.rewards.isnan()[:, None]
    assert batch.advantage[judged].mean().item() == pytest.approx(0, abs=1e-6)
    assert batch.advantage[judged].std().item() == pytest.approx(1, rel=1e-5)


def test_without_a_penalty_no_reference_is_read(policy, value, batch, start):
    _, metrics = experience(policy, value, start, kl_coefficient=0)(batch)
    assert batch.reference is None
    assert "kl" not in metrics


def step_on(start: Path, reward_model: Path, batch: RolloutBatch, **options: Any) -> dict[str, float]:
    policy, value = LanguageModel.load(start), ValueModel.from_reward_model(str(reward_model), "cpu")
    chosen = config(**options)
    targets, metrics = experience(policy, value, start, **options)(batch)
    update = PpoUpdate(Trainer(policy, chosen, 1), Trainer(value, chosen, 1), chosen)
    found = metrics | update(batch, targets, random.Random(0))
    return {name: number for name, number in found.items() if not name.startswith("time/")}


def test_rows_without_a_verdict_change_nothing(start, reward_model, batch):
    judged = batch.select([0, 1, 3, 4, 5])
    whole, part = step_on(start, reward_model, batch), step_on(start, reward_model, judged)
    for name in set(whole) - {"entropy", "behaviour_gap", "ratio", "approx_kl", "clip_fraction"}:  # means over all rows
        assert whole[name] == pytest.approx(part[name], rel=1e-4, abs=1e-6), name


@pytest.mark.parametrize("aggregation", ["token-mean", "sequence-mean", "constant"])
def test_micro_batches_do_not_change_the_step(start, reward_model, batch, aggregation):
    one, other = (
        step_on(start, reward_model, batch.select(range(6)), micro_batch=size, aggregation=aggregation)
        for size in (1, 6)
    )
    assert one == pytest.approx(other, rel=1e-4, abs=1e-6)


def test_a_batch_without_any_verdict_takes_no_step(start, policy, value, batch):
    batch.rewards[:] = float("nan")
    chosen = config()
    trainers = Trainer(policy, chosen, 1), Trainer(value, chosen, 1)
    targets = ValueTargets(torch.zeros(batch.token_ids.shape), torch.zeros(batch.token_ids.shape))
    assert set(PpoUpdate(*trainers, chosen)(batch, targets, random.Random(0))) == {"time/train"}
    assert [trainer.steps for trainer in trainers] == [0, 0]


def test_the_value_function_learns_the_returns(value, batch):
    chosen = config(value_clip=None, value_lr=3e-3)
    batch.rewards[:] = 1.0
    places = torch.arange(batch.token_ids.shape[1]).expand(batch.token_ids.shape)
    returns = torch.where(batch.completion_mask, (batch.token_ids + places).float() / 4, 0.0)
    update = ValueUpdate(Trainer(value, chosen.model_copy(update={"lr": 3e-3}), 80), chosen)
    before = explained_variance(score_values(value, batch, 8), returns, batch.completion_mask)
    targets = ValueTargets(score_values(value, batch, 8), returns)
    losses = [update(batch, targets)["value/loss"] for _ in range(80)]
    after = explained_variance(score_values(value, batch, 8), returns, batch.completion_mask)
    assert losses[-1] < 0.3 * losses[0]
    assert after > max(0.3, before + 0.3)


def test_every_epoch_takes_each_row_once():
    found = list(minibatches(10, epochs=3, parts=4, rng=random.Random(0)))
    assert len(found) == 12
    for epoch in range(3):
        parts = found[4 * epoch : 4 * epoch + 4]
        assert sorted(row for part in parts for row in part) == list(range(10))
        assert {len(part) for part in parts} <= {2, 3}
    assert found[:4] != found[4:8]


def gradient_of(trainer: Trainer, monkeypatch: pytest.MonkeyPatch, do: Callable[[], Any]) -> dict[str, Tensor]:
    """Return the gradient that a step would apply."""
    kept: dict[str, Tensor] = {}

    def update(lr: float, most: float) -> float:
        kept.update({name: weight.grad.clone() for name, weight in trainer.policy.model.named_parameters()})
        trainer.strategy.forget()
        return 1.0

    monkeypatch.setattr(trainer.strategy, "update", update)
    do()
    return kept


def test_the_pretraining_gradient_is_added_to_the_policys_in_the_same_step(start, batch, monkeypatch):
    texts, chosen = ["#abc=abc", "~abc=cba", "#fed=fed"], config(kl_coefficient=0, whiten_advantages=False)
    policy = LanguageModel.load(start)
    examples = [piece for text in texts for piece in cut(policy.tokenizer, text, 48)]
    mix = PretrainingMix(examples, weight=27.8, rows=3, micro_batch=2, seed=0)
    gradients = []
    for with_mix in (True, False):
        policy, value = LanguageModel.load(start), ValueModel.from_policy(str(start), "cpu", 0)
        trainer = MixedTrainer(policy, chosen, 1, mix) if with_mix else Trainer(policy, chosen, 1)
        update = PpoUpdate(trainer, Trainer(value, chosen, 1), chosen)
        targets, _ = experience(policy, value, start, kl_coefficient=0, whiten_advantages=False)(batch)
        gradients.append(gradient_of(trainer, monkeypatch, lambda: update(batch, targets, random.Random(0))))  # noqa: B023
    theirs = AutoModelForCausalLM.from_pretrained(start)
    ids = torch.tensor([list(example.token_ids) for example in examples])  # all of one length
    (27.8 * theirs(input_ids=ids, labels=ids).loss).backward()
    for name, weight in theirs.named_parameters():
        torch.testing.assert_close(gradients[0][name], gradients[1][name] + weight.grad, atol=2e-4, rtol=1e-4)
        assert weight.grad.abs().max() > 1e-3


def test_the_mix_goes_on_from_the_steps_done(policy):
    examples = [piece for text in ("#abc=abc", "~abc=cba", "#fed=fed") for piece in cut(policy.tokenizer, text, 48)]
    mix = PretrainingMix(examples, weight=2.0, rows=2, micro_batch=1, seed=0)

    def total(step: int) -> float:
        return sum(loss_of().item() for loss_of in mix.losses(policy, step)[0])

    once = [total(step) for step in (1, 2, 3)]
    assert [total(3), total(1)] == [once[2], once[0]]
    assert len(set(once)) == 3
    _, trained = mix.losses(policy, 1)
    assert trained == 2 * 8
    assert mix.summed == 0.0


def test_a_long_document_is_cut_and_nothing_is_lost(policy):
    pieces = cut(policy.tokenizer, "#abcdef=abcdef", 5)
    assert [token for piece in pieces for token in piece.token_ids] == [*policy.tokenizer.encode("#abcdef=abcdef"), 1]
    assert all(piece.start == 1 and len(piece.token_ids) <= 5 for piece in pieces)
