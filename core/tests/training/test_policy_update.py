"""The update: micro-batches change nothing, nothing that is not finite is ever applied."""

from __future__ import annotations

import random

import pytest
import torch

from collegium import Loss, PluginError, Sample, SamplingParams, Task
from collegium.builtin_components.engine import TransformersEngine
from collegium.testing.stages import toy_model
from collegium.training.batch import RolloutBatch, collate
from collegium.training.language_model import LanguageModel
from collegium.training.optimizer_config import OptimizerConfig
from collegium.training.policy_update import PolicyUpdate, micro_batches
from collegium.training.rollout_config import RolloutConfig
from collegium.training.streams import LossOutput, TokenStreams
from collegium.training.trainer import NotFinite, Trainer, schedule


class PolicyGradient(Loss):
    """The plain policy gradient."""

    needs = frozenset({"current", "advantage"})

    def per_token(self, streams: TokenStreams) -> LossOutput:
        return LossOutput(-streams.advantage * streams.current, {"one": torch.ones_like(streams.current)})


class Poisoned(PolicyGradient):
    """Not a number at the last sequence only."""

    def per_token(self, streams: TokenStreams) -> LossOutput:
        output = super().per_token(streams)
        return LossOutput(output.loss.masked_fill(streams.token_ids[:, :1] == 9, float("nan")))


class WrongShape(PolicyGradient):
    def per_token(self, streams: TokenStreams) -> LossOutput:
        return LossOutput(super().per_token(streams).loss.sum(dim=1))


def rollouts(policy: LanguageModel, count: int = 12) -> RolloutBatch:
    engine = TransformersEngine()
    engine.sync(policy, 0)
    prompts = [[2 + index % 5] * (1 + index % 4) for index in range(count - 1)] + [[9, 9]]
    made = list(engine.generate(prompts, SamplingParams(max_tokens=9), range(len(prompts))))
    batch = collate(prompts, made, [Sample(Task(f"t{i}", "")) for i in range(count)], [], pad_id=0)
    batch.advantage = torch.linspace(-1, 1, count)[:, None] * batch.completion_mask
    return batch


def updated(loss: Loss | None = None, **options: object) -> tuple[dict[str, float], LanguageModel]:
    policy = toy_model()
    batch = rollouts(policy)
    config = RolloutConfig(lr=1e-2, **options)
    update = PolicyUpdate(Trainer(policy, config, 10), loss or PolicyGradient(), config)
    return update(batch, random.Random(0)), policy


@pytest.mark.parametrize("aggregation", ["sequence-mean", "token-mean", "constant"])
def test_micro_batches_do_not_change_the_gradient(aggregation):
    whole, _ = updated(micro_batch=12, aggregation=aggregation)
    for size in (1, 5):
        parts, _ = updated(micro_batch=size, aggregation=aggregation)
        assert parts["loss"] == pytest.approx(whole["loss"], rel=1e-5)
        assert parts["grad_norm"] == pytest.approx(whole["grad_norm"], rel=1e-5)
        assert parts["entropy"] == pytest.approx(whole["entropy"], rel=1e-5)


def test_one_minibatch_of_one_epoch_is_one_optimizer_step():
    metrics, _ = updated(micro_batch=5)
    assert metrics["one"] == 1.0
    assert metrics["behaviour_gap"] < 1e-5


def test_minibatches_and_epochs_are_optimizer_steps_over_all_rows():
    policy = toy_model()
    batch, config = rollouts(policy), RolloutConfig(epochs=2, minibatches=3, micro_batch=4)
    trainer = Trainer(policy, config, 10)
    PolicyUpdate(trainer, PolicyGradient(), config)(batch, random.Random(0))
    assert trainer.steps == 6


def test_a_loss_that_is_not_finite_changes_nothing_and_names_the_tasks():
    before = toy_model().model.state_dict()
    policy = toy_model()
    batch, config = rollouts(policy), RolloutConfig(lr=1e-2, micro_batch=3)
    trainer = Trainer(policy, config, 10)
    with pytest.raises(NotFinite, match="the loss is nan") as caught:
        PolicyUpdate(trainer, Poisoned(), config)(batch, random.Random(0))
    assert caught.value.task_ids == [f"t{i}" for i in range(12)]
    assert all(torch.equal(before[name], value) for name, value in policy.model.state_dict().items())
    assert all(weight.grad is None for weight in policy.parameters())


def test_a_loss_of_the_wrong_shape_is_an_error_that_names_it():
    with pytest.raises(PluginError, match=r"loss WrongShape returned shape \[12\]"):
        updated(WrongShape(), micro_batch=12)


def test_rows_of_different_teachers_never_share_a_micro_batch_of_hidden_states():
    batch = rollouts(toy_model())
    batch.teachers = ["a", "b", "b"] * 4
    batch.teacher_hidden = [torch.zeros(1, 1)] * 12
    parts = micro_batches(batch, 3)
    assert sorted(row for rows in parts for row in rows) == list(range(12))
    assert all(len({batch.teachers[row] for row in rows}) == 1 and len(rows) <= 3 for rows in parts)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("constant", [1 / 3, 2 / 3, 1.0, 1.0, 1.0, 1.0]),
        ("linear", [1 / 3, 2 / 3, 1.0, 0.75, 0.5, 0.25]),
        ("cosine", [1 / 3, 2 / 3, 1.0, 0.853553, 0.5, 0.146447]),
    ],
)
def test_schedules_warm_up_and_then_follow_their_name(name, expected):
    factor = schedule(OptimizerConfig(schedule=name, warmup=2), 6)
    assert [factor(step) for step in range(6)] == pytest.approx(expected, abs=1e-6)


def test_a_gradient_longer_than_the_limit_is_clipped():
    steps = []
    for limit in (1e9, 1e-3):
        policy = toy_model()
        config = RolloutConfig(max_grad_norm=limit, lr=1.0)
        trainer = Trainer(policy, config, 10)
        trainer.strategy.optimizer = torch.optim.SGD(policy.parameters(), lr=1.0)
        before = [weight.detach().clone() for weight in policy.parameters()]
        metrics = PolicyUpdate(trainer, PolicyGradient(), config)(rollouts(policy), random.Random(0))
        moved = torch.cat([(a - b).flatten() for a, b in zip(before, policy.parameters(), strict=True)]).detach()
        steps.append((float(moved.norm()) / metrics["lr"], metrics["grad_norm"]))
    assert steps[0][0] == pytest.approx(steps[0][1], rel=1e-4)
    assert steps[1][0] == pytest.approx(1e-3, rel=1e-3)


def test_how_far_the_weights_move_within_a_batch_is_no_disagreement_of_the_engine():
    """The loss does not read `old`, so that only the first optimizer step still has the rollouts' weights."""
    metrics, _ = updated(epochs=4, minibatches=3, handshake=1e-4)
    assert metrics["behaviour_gap"] > 1e-3
