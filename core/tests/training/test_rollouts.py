"""Rollouts: groups, rewards that are missing, refill, and malformed engines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from collegium import Abstain, Engine, EngineError, Error, Generation, PluginError, RewardSource, Sample, Score, Verdict
from collegium.builtin_components.samplers import ShuffledSampler
from collegium.job import ErrorPolicy
from collegium.judge import RewardJudge
from collegium.task import Task
from collegium.testing.stages import toy_domain, toy_job, toy_model, toy_registry
from collegium.training.context import StageContext
from collegium.training.language_model import LanguageModel
from collegium.training.rollout_config import RolloutConfig
from collegium.training.rollouts import RolloutCollector, generate


class ByFirstLetter(RewardSource):
    """Abstain on prompts with an a, fail on those with a b, score the others by their group member's length."""

    def score(self, batch: Sequence[Sample]) -> Sequence[Verdict]:
        return [self._one(sample) for sample in batch]

    def _one(self, sample: Sample) -> Verdict:
        first = sample.task.prompt_text[1]
        if first == "a":
            return Abstain("no opinion")
        if first == "b":
            return Error("broken", "acme-other")
        return Score(float(len(sample.completion.text)) if sample.completion else 0.0)


class PickySampler(ShuffledSampler):
    """Keep groups of prompts by what the test says, and record what it is asked."""

    def __init__(self, keeps: list[bool]) -> None:
        super().__init__()
        self.keeps = keeps
        self.asked: list[list[float]] = []

    def keep(self, rewards: Sequence[float]) -> bool:
        self.asked.append(list(rewards))
        return self.keeps.pop(0) if self.keeps else True


@pytest.fixture
def context(tmp_path: Path) -> StageContext:
    job = toy_job("collegium-grpo/grpo", {}, tmp_path, domains=[toy_domain("copy"), toy_domain("reverse")])
    return StageContext(job, toy_registry(), lambda event: None)


def collector(context: StageContext, sampler: ShuffledSampler, reward: bool = True, **options: Any) -> RolloutCollector:
    config = RolloutConfig(**{"prompts": 12, "group": 4, "sampling": {"max_tokens": 6}, **options})
    policy = ErrorPolicy(budget=1.0)
    judge = RewardJudge(ByFirstLetter(), owner="acme", name="letters", policy=policy) if reward else None
    return RolloutCollector(context, toy_model(), config, sampler=sampler, reward=judge)


def test_a_batch_holds_groups_of_completions_with_their_rewards(context):
    batch, metrics = collector(context, ShuffledSampler()).collect(1)
    assert len(batch) == 48
    assert batch.groups.tolist() == [index // 4 for index in range(48)]
    for row, sample in enumerate(batch.samples):
        assert sample.task is batch.samples[row // 4 * 4].task
        assert sample.domain in ("copy", "reverse")
        lettered = {"a": None, "b": None}.get(sample.task.prompt_text[1], len(sample.completion.text))
        assert (math.isnan(batch.rewards[row])) if lettered is None else (batch.rewards[row] == lettered)
        assert batch.completion_lengths[row] == len(sample.completion.token_ids)
        assert bool(batch.truncated[row]) == (sample.completion.finish_reason == "length")
    assert metrics["truncated"] == pytest.approx(float(batch.truncated.float().mean()))
    assert context.rollouts == 48
    assert context.tokens_generated == int(batch.completion_mask.sum())


def test_missing_rewards_are_counted_and_left_out_of_averages(context):
    batch, metrics = collector(context, ShuffledSampler()).collect(1)
    first = [sample.task.prompt_text[1] for sample in batch.samples]
    scored = [float(value) for value, letter in zip(batch.rewards, first, strict=True) if letter not in "ab"]
    assert metrics["reward"] == pytest.approx(sum(scored) / len(scored))
    assert metrics["verdicts/abstain"] == pytest.approx(first.count("a") / 48)
    assert metrics["verdicts/error"] == pytest.approx(first.count("b") / 48)
    assert {"reward/copy", "reward/reverse"} <= set(metrics)


def test_the_sampler_never_sees_a_reward_that_is_not_there(context):
    sampler = PickySampler([])
    collector(context, sampler).collect(1)
    assert sampler.asked
    assert all(not math.isnan(value) for rewards in sampler.asked for value in rewards)
    assert all(len(rewards) == 4 for rewards in sampler.asked)


def test_dropped_groups_are_refilled_by_further_draws(context):
    batch, metrics = collector(context, PickySampler([False] * 5), max_refills=3).collect(1)
    assert metrics["groups/kept"] == 12
    assert metrics["groups/drawn"] == 17
    assert len(batch) == 48
    assert len(set(batch.groups.tolist())) == 12
    assert context.rollouts == 68


def test_refills_end_at_their_limit_and_what_was_kept_is_trained(context):
    sampler = PickySampler([False] * 100)
    batch, metrics = collector(context, sampler, max_refills=1).collect(1)
    dropped = len(sampler.asked)
    assert metrics["groups/kept"] == metrics["groups/drawn"] - dropped
    assert 12 < metrics["groups/drawn"] <= 24
    assert len(batch) == 4 * metrics["groups/kept"]
    assert bool(batch.rewards.isnan().all())


def test_a_stage_without_rewards_has_none(context):
    batch, metrics = collector(context, ShuffledSampler(), reward=False).collect(1)
    assert batch.verdicts == []
    assert bool(batch.rewards.isnan().all())
    assert "reward" not in metrics


def test_a_step_has_the_same_rollouts_whenever_it_is_run(context):
    one = collector(context, ShuffledSampler()).collect(3)[0]
    same = collector(context, ShuffledSampler()).collect(3)[0]
    other = collector(context, ShuffledSampler()).collect(4)[0]
    assert one.samples == same.samples
    assert one.samples != other.samples


class BadSampler(ShuffledSampler):
    def draw(self, count: int, rng: Any) -> Sequence[Task]:
        return super().draw(count, rng)[1:]


def test_a_sampler_that_draws_too_few_is_named(context):
    with pytest.raises(PluginError, match="sampler BadSampler drew 11 tasks when asked for 12"):
        collector(context, BadSampler()).collect(1)


class BadEngine(Engine):
    """Return what the test says."""

    def __init__(self, answer: object) -> None:
        super().__init__()
        self.answer = answer

    def sync(self, policy: LanguageModel, version: int) -> None:
        """Need no weights."""

    def generate(self, prompts: Any, sampling: Any, seeds: Any) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ([], "returned 0 generations for 1 prompts"),
        ([Generation((), (), "stop", 0)], "returned 0 tokens with 0 log-probs for prompt 0"),
        ([Generation((1, 2), (0.0,), "stop", 0)], "returned 2 tokens with 1 log-probs"),
        ([Generation((1,), (float("nan"),), "stop", 0)], "returned a log-prob that is not finite for prompt 0"),
        (RuntimeError("out of memory"), "failed to generate for 1 prompts: out of memory"),
    ],
)
def test_a_malformed_engine_is_named(answer, said):
    with pytest.raises(EngineError, match=f"BadEngine {said}"):
        generate(BadEngine(answer), [[2]], RolloutConfig().sampling, [0])
