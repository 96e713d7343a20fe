"""Rollouts ahead of training: which weights sample, what overlaps, what a checkpoint holds, how the thread ends."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from collegium import (
    Abstain,
    ConfigError,
    Engine,
    EngineError,
    Error,
    Generation,
    Loss,
    PluginError,
    PolicyError,
    RewardSource,
    Sample,
    Score,
    Verdict,
    VerifierError,
)
from collegium.builtin_components.engine import TransformersEngine
from collegium.builtin_components.samplers import ShuffledSampler
from collegium.job import ErrorPolicy
from collegium.judge import RewardJudge
from collegium.testing.stages import toy_domain, toy_job, toy_model, toy_registry
from collegium.training.checkpoint import Checkpoints
from collegium.training.context import StageContext
from collegium.training.language_model import LanguageModel
from collegium.training.pipeline import RolloutPipeline
from collegium.training.rollout_config import RolloutConfig
from collegium.training.rollout_state import decode, encode, restore
from collegium.training.rollouts import RolloutCollector
from collegium.training.scoring import Scorer, score
from collegium.training.streams import LossOutput, TokenStreams

PATIENCE_S = 60
"""How long a test waits for another thread before it calls that a deadlock."""


class Corrected(Loss):
    """Read who sampled the tokens."""

    needs: ClassVar[frozenset[str]] = frozenset({"current", "behaviour", "advantage"})

    def per_token(self, streams: TokenStreams) -> LossOutput:
        return LossOutput(-streams.current)


class Uncorrected(Corrected):
    """Take the tokens for the policy's own."""

    needs: ClassVar[frozenset[str]] = frozenset({"current", "old", "advantage"})


class Watching(Corrected):
    """Read who sampled the tokens, only to look at it."""

    @property
    def corrects_age(self) -> bool:
        return False


class ByLength(RewardSource):
    """Score by length, abstain on prompts with an a, fail on those with a b."""

    def score(self, batch: Sequence[Sample]) -> Sequence[Verdict]:
        return [self._one(sample) for sample in batch]

    def _one(self, sample: Sample) -> Verdict:
        first = sample.task.prompt_text[1]
        if first in "ab":
            return Abstain("no opinion") if first == "a" else Error("broken", "acme-other")
        length = len(sample.completion.text) if sample.completion else 0
        return Score(float(length), {"length": length})


class Growing(ByLength):
    """Adapt from step to step."""

    def after_step(self, step: int, metrics: Mapping[str, float]) -> Mapping[str, float]:
        return {"grown": float(step)}


class Recorded(TransformersEngine):
    """The real engine; it keeps what it was given, and tells when it generates."""

    def __init__(self) -> None:
        super().__init__()
        self.synced: list[tuple[LanguageModel, int, str]] = []
        self.generating: dict[int, threading.Event] = {}
        self.calls = 0

    def sync(self, policy: LanguageModel, version: int) -> None:
        self.synced.append((policy, version, threading.current_thread().name))
        super().sync(policy, version)

    def generate(self, prompts: Any, sampling: Any, seeds: Any) -> Sequence[Generation]:
        self.calls += 1
        self.generating.setdefault(self.calls, threading.Event()).set()
        return super().generate(prompts, sampling, seeds)

    def wait_for_call(self, number: int) -> bool:
        """Tell whether a call, counted from 1, began."""
        return self.generating.setdefault(number, threading.Event()).wait(PATIENCE_S)


class Stage:
    """The parts of a stage, with updates that a test makes by hand."""

    def __init__(
        self,
        directory: Path,
        engine: Engine | None = None,
        *,
        reward: RewardSource | None = None,
        errors: ErrorPolicy | None = None,
        **options: Any,
    ) -> None:
        job = toy_job("collegium/toy", {}, directory, domains=[toy_domain("copy"), toy_domain("reverse")], id="t")
        torch.set_num_threads(job.threads)  # as the worker does: sums differ in their last bits with the number
        self.context = StageContext(job, toy_registry(), lambda event: None)
        self.policy = toy_model()
        defaults = {"steps": 6, "prompts": 4, "group": 2, "sampling": {"max_tokens": 6}, "staleness": 2}
        self.config = RolloutConfig(**{**defaults, **options})
        policy = errors or ErrorPolicy(budget=1.0)
        judge = RewardJudge(reward or ByLength(), owner="acme", name="length", policy=policy)
        self.sampler = ShuffledSampler()
        self.collector = RolloutCollector(self.context, self.policy, self.config, sampler=self.sampler, reward=judge)
        self.collector.engine = self.engine = engine or Recorded()
        self.scorer = Scorer(self.policy, Corrected(), [], self.config)
        self.pipeline = RolloutPipeline(self.collector, self.scorer, Corrected())

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Change the weights, the same way at the same step."""
        generator = torch.Generator().manual_seed(step)
        for weight in self.policy.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=generator))

    def run(self, first: int = 1, last: int | None = None) -> list[Any]:
        """Collect and update, step by step; return the batches."""
        batches = []
        with self.pipeline:
            for step in range(first, (last or self.config.steps) + 1):
                batches.append(self.pipeline.collect(step)[0])
                self.update(step)
        return batches


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert "collegium-rollouts" not in [thread.name for thread in threading.enumerate()]


@pytest.mark.parametrize("staleness", [1, 2, 5])
def test_each_step_gets_rollouts_of_the_weights_so_many_updates_before(tmp_path, staleness):
    stage = Stage(tmp_path / "ahead", staleness=staleness)
    batches = stage.run()
    then = Stage(tmp_path / "then", staleness=0)
    versions = [{name: weight.clone() for name, weight in then.policy.model.state_dict().items()}]
    for step in range(1, 7):
        then.update(step)
        versions.append({name: weight.clone() for name, weight in then.policy.model.state_dict().items()})
    for step, batch in enumerate(batches, 1):
        version = max(0, step - 1 - staleness)
        assert set(batch.weight_versions.tolist()) == {version}
        then.policy.model.load_state_dict(versions[version])
        expected, _ = then.collector.collect(step)
        assert torch.equal(batch.token_ids, expected.token_ids)
        assert torch.equal(batch.behaviour, expected.behaviour)
        assert torch.equal(batch.rewards.nan_to_num(-1), expected.rewards.nan_to_num(-1))
        assert (batch.behaviour - score(then.policy, batch, 32))[batch.completion_mask].abs().max() < 1e-4


def test_the_next_batch_is_being_sampled_while_this_one_is_trained(tmp_path):
    engine = Recorded()
    stage = Stage(tmp_path, engine, staleness=1)
    with stage.pipeline:
        for step in range(1, 6):
            stage.pipeline.collect(step)
            assert engine.wait_for_call(step + 1)  # training of `step` ends only after this
            stage.update(step)


def test_strictly_on_policy_the_next_batch_waits_for_the_update(tmp_path):
    engine = Recorded()
    stage = Stage(tmp_path, engine, staleness=0)
    for step in range(1, 4):
        stage.pipeline.collect(step)
        assert engine.calls == step
        assert engine.synced[-1][0] is stage.policy
    assert "rollouts" not in stage.pipeline.states


def test_the_thread_never_runs_further_ahead_than_the_bound(tmp_path):
    engine = Recorded()
    stage = Stage(tmp_path, engine, staleness=2)
    with stage.pipeline:
        stage.pipeline.collect(1)
        waiting = stage.pipeline.states["rollouts"].state_dict()["waiting"]  # the thread is at rest
        assert [each["step"] for each in waiting] == [2, 3]
        assert engine.calls == 3


def test_an_engine_gets_a_copy_of_the_policy_and_starts_in_the_training_thread(tmp_path):
    engine = Recorded()
    stage = Stage(tmp_path, engine, staleness=1)
    stage.run()
    assert [version for _, version, _ in engine.synced] == [0, 1, 2, 3, 4]  # nobody needs what comes after
    assert all(policy is not stage.policy for policy, _, _ in engine.synced)
    assert [thread for _, _, thread in engine.synced] == ["MainThread", *["collegium-rollouts"] * 4]


def test_an_engine_that_takes_weights_in_flight_gets_them_as_soon_as_there_are_some(tmp_path):
    class InFlight(Recorded):
        in_flight = True

        def sync(self, policy: LanguageModel, version: int) -> None:
            super().sync(policy, version)
            self._policy = toy_model()  # an engine of this kind has weights of its own
            self._policy.model.load_state_dict(policy.model.state_dict())

    engine = InFlight()
    stage = Stage(tmp_path, engine, staleness=1)
    batches = stage.run()
    assert all(policy is stage.policy and thread == "MainThread" for policy, _, thread in engine.synced)
    lags = [step - int(version) for step, batch in enumerate(batches) for version in batch.weight_versions]
    assert set(lags) <= {0, 1}


def test_rows_that_are_older_than_the_bound_are_dropped_and_counted(tmp_path):
    class Lagging(TransformersEngine):
        """Answer every second prompt with what it says are the first weights."""

        def generate(self, prompts: Any, sampling: Any, seeds: Any) -> Sequence[Generation]:
            made = super().generate(prompts, sampling, seeds)
            old = [Generation(each.token_ids, each.logprobs, each.finish_reason, 0) for each in made]
            return [old[index] if index % 2 else each for index, each in enumerate(made)]

    stage = Stage(tmp_path, Lagging(), staleness=1)
    with stage.pipeline:
        found = []
        for step in range(1, 5):
            found.append(stage.pipeline.collect(step))
            stage.update(step)
    assert [metrics["stale/dropped"] for _, metrics in found] == [0, 0, 4, 4]
    assert [len(batch) for batch, _ in found] == [8, 8, 4, 4]
    assert [metrics["stale/lag"] for _, metrics in found] == [0, 1, 1, 1]


def test_a_batch_whose_rows_are_all_too_old_is_skipped(tmp_path):
    class Stuck(TransformersEngine):
        """Never tell of new weights."""

        def sync(self, policy: LanguageModel, version: int) -> None:
            super().sync(policy, 0)

    for staleness in (0, 1):
        stage = Stage(tmp_path / str(staleness), Stuck(), staleness=staleness)
        with stage.pipeline:
            for step in range(1, 3 + staleness):
                batch, metrics = stage.pipeline.collect(step)
                assert (batch is None) == (step > 1 + staleness)
        assert metrics["stale/dropped"] == 8
        assert math.isnan(metrics["stale/lag"])


def test_an_engines_failure_reaches_the_training_thread_as_it_was(tmp_path):
    failure = EngineError("out of memory", owner="acme-engine")

    class Failing(Recorded):
        def generate(self, prompts: Any, sampling: Any, seeds: Any) -> Sequence[Generation]:
            if self.calls == 3:
                raise failure
            return super().generate(prompts, sampling, seeds)

    stage = Stage(tmp_path, Failing())
    with pytest.raises(EngineError, match="out of memory") as caught:
        stage.run()
    assert caught.value is failure
    assert caught.value.owner == "acme-engine"
    with pytest.raises(EngineError):  # no checkpoint of half the rollouts
        stage.pipeline.states["rollouts"].state_dict()


def test_a_spent_error_budget_keeps_its_owner(tmp_path):
    class Broken(RewardSource):
        def score(self, batch: Sequence[Sample]) -> Sequence[Verdict]:
            raise RuntimeError("cannot judge")

    with pytest.raises(VerifierError, match="error budget") as caught:
        Stage(tmp_path, reward=Broken(), errors=ErrorPolicy()).run()
    assert caught.value.owner == "acme"


def test_an_error_in_training_ends_the_thread(tmp_path, monkeypatch):
    stage = Stage(tmp_path)
    monkeypatch.setattr(stage, "update", lambda step: [][step])
    with pytest.raises(IndexError):
        stage.run()


def test_an_engine_that_ignores_updates_is_caught_on_the_first_rollouts_after_a_resume(tmp_path):
    class Frozen(TransformersEngine):
        """Sample from one set of weights for ever."""

        def sync(self, policy: LanguageModel, version: int) -> None:
            if not hasattr(self, "_policy"):
                super().sync(toy_model(), version)
            self._version = version

    stage = Stage(tmp_path, Frozen())
    with stage.pipeline:
        stage.pipeline.collect(1)  # its weights are the start's: the handshake finds nothing
        stage.update(1)
        state = stage.pipeline.states["rollouts"].state_dict()
    resumed = Stage(tmp_path, Frozen())
    resumed.update(1)
    resumed.pipeline.states["rollouts"].load_state_dict(state)
    with pytest.raises(EngineError, match="engine and trainer disagree"):
        resumed.run(first=2)


@pytest.mark.parametrize("stop_after", [1, 3, 5])
def test_what_a_checkpoint_holds_is_enough_to_go_on_with_the_same_rollouts(tmp_path, stop_after):
    whole = Stage(tmp_path / "whole").run()
    first = Stage(tmp_path / "first")
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    with first.pipeline:
        for step in range(1, stop_after + 1):
            first.pipeline.collect(step)
            first.update(step)
        states = {name: holder.state_dict() for name, holder in first.pipeline.states.items()}
        checkpoints.save(stop_after, states)
    second = Stage(tmp_path / "second")
    for step in range(1, stop_after + 1):
        second.update(step)
    saved = checkpoints.latest()
    for name, holder in second.pipeline.states.items():
        holder.load_state_dict(saved[name])
    for batch, expected in zip(second.run(first=stop_after + 1), whole[stop_after:], strict=True):
        assert torch.equal(batch.token_ids, expected.token_ids)
        assert torch.equal(batch.behaviour, expected.behaviour)
        assert batch.samples == expected.samples
        assert batch.verdicts == expected.verdicts


CUT = {"max_tokens": 6, "top_p": 0.9, "keep_mask": True}


@pytest.mark.parametrize("sampling", [{"max_tokens": 6}, CUT], ids=["whole", "cut"])
def test_rollouts_are_the_same_after_a_round_trip_through_a_checkpoint(tmp_path, sampling):
    stage = Stage(tmp_path, staleness=0, prompts=24, group=2, sampling=sampling)
    stage.engine.sync(stage.policy, 0)
    rollouts = stage.collector.draw(1)
    assert {type(verdict) for each in rollouts.groups for verdict in each.verdicts} == {Score, Abstain, Error}
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.save(1, encode(rollouts, stage.collector.tasks))
    assert decode(checkpoints.latest(), stage.collector) == rollouts


def row_of(waiting: list[dict[str, Any]]) -> dict[str, Any]:
    return waiting[0]["groups"][0]["rows"][1]


DAMAGES = {
    "other steps": (lambda waiting: waiting.reverse(), r"they are of the steps \[3, 2\], expected \[2, 3\]"),
    "a step short": (lambda waiting: waiting.pop(), r"they are of the steps \[2\], expected \[2, 3\]"),
    "no task": (lambda waiting: waiting[1]["groups"][2].update(task=["copy", "gone"]), "has no training task 'gone'"),
    "NaN": (lambda waiting: row_of(waiting)["logprobs"].fill_(math.nan), "completion 1: log-probs that are not finite"),
    "great ids": (lambda waiting: row_of(waiting)["tokens"].fill_(10**6), "ids outside the vocabulary"),
    "negative ids": (lambda waiting: row_of(waiting)["tokens"].fill_(-1), "ids outside the vocabulary"),
    "no tokens": (lambda waiting: row_of(waiting).update(tokens=torch.zeros(0)), "no tokens"),
    "lengths": (lambda waiting: row_of(waiting).update(logprobs=torch.zeros(99)), "tokens with 99 log-probs"),
    "prompt": (lambda waiting: waiting[0]["groups"][0]["prompt"].fill_(-5), "its prompt is empty or holds ids outside"),
    "verdicts": (lambda waiting: waiting[0]["groups"][0]["verdicts"].pop(), "2 completions with 1 verdicts"),
    "finish": (lambda waiting: row_of(waiting).update(finish="tired"), "finish reason 'tired'"),
    "version": (lambda waiting: row_of(waiting).update(version=9), "weights after step 9, which were not there"),
    "a verdict": (
        lambda waiting: waiting[0]["groups"][0].update(verdicts=[["hm", ""]] * 2),
        "not laid out as rollouts",
    ),
    "no groups": (lambda waiting: waiting[0].pop("groups"), "not laid out as rollouts"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_rollouts_in_a_checkpoint_that_cannot_be_trained_on_are_refused(tmp_path, damage):
    stage = Stage(tmp_path / "first")
    with stage.pipeline:
        stage.pipeline.collect(1)
        stage.update(1)
        state = stage.pipeline.states["rollouts"].state_dict()
    harm, words = DAMAGES[damage]
    harm(state["waiting"])
    resumed = Stage(tmp_path / "then")
    resumed.update(1)
    resumed.pipeline.states["rollouts"].load_state_dict(state)
    with pytest.raises(PolicyError, match=rf"(?s)step-00000001'.*{words}") as caught:
        resumed.run(first=2, last=2)
    assert "delete its folder; the stage then starts earlier" in str(caught.value)
    assert resumed.collector.engine.calls == 0


CUT_DAMAGES = {
    "no record": (lambda row: row.pop("kept"), "no record of what truncation kept"),
    "counts": (lambda row: row["kept_counts"].add_(1), r"sets of \d+ kept ids"),
    "negative counts": (lambda row: row["kept_counts"].fill_(-1), r"sets of \d+ kept ids"),
    "great ids": (lambda row: row["kept"].fill_(10**6), "kept ids that are outside the vocabulary"),
    "other ids": (lambda row: row["kept"].fill_(0), "without the token that was sampled"),
}


@pytest.mark.parametrize("damage", CUT_DAMAGES)
def test_records_of_truncation_in_a_checkpoint_that_are_no_records_are_refused(tmp_path, damage):
    stage = Stage(tmp_path, sampling=CUT)
    stage.engine.sync(stage.policy, 0)
    waiting = [encode(stage.collector.draw(step), stage.collector.tasks) for step in (2, 3)]
    assert len(restore(waiting, stage.collector, 1)) == 2
    harm, words = CUT_DAMAGES[damage]
    harm(row_of(waiting))
    with pytest.raises(PolicyError, match=words):
        restore(waiting, stage.collector, 1)


def test_a_record_of_truncation_is_refused_where_nothing_was_cut(tmp_path):
    stage = Stage(tmp_path / "cut", sampling=CUT)
    stage.engine.sync(stage.policy, 0)
    waiting = [encode(stage.collector.draw(step), stage.collector.tasks) for step in (2, 3)]
    with pytest.raises(PolicyError, match="keep_mask is False"):
        restore(waiting, Stage(tmp_path / "whole").collector, 1)


def test_a_task_that_cannot_be_named_is_told_and_not_guessed(tmp_path):
    stage = Stage(tmp_path, staleness=0)
    stage.engine.sync(stage.policy, 0)
    with pytest.raises(PluginError, match="training task of that id is another or none"):
        encode(stage.collector.draw(1), {"copy": [], "reverse": []})


def test_details_of_a_score_that_are_no_json_are_told(tmp_path):
    class Odd(RewardSource):
        def score(self, batch: Sequence[Sample]) -> Sequence[Verdict]:
            return [Score(1.0, {"seen": {1, 2}}) for _ in batch]

    stage = Stage(tmp_path, staleness=0, reward=Odd())
    stage.engine.sync(stage.policy, 0)
    with pytest.raises(PluginError, match="details of a score cannot be kept"):
        encode(stage.collector.draw(1), stage.collector.tasks)


@pytest.mark.parametrize("loss", [Uncorrected, Watching])
def test_a_loss_without_a_correction_is_refused_only_where_rollouts_are_stale(tmp_path, loss):
    stage = Stage(tmp_path, staleness=1)
    refused = rf"(?s)loss {loss.__name__} has no importance correction.*importance: tis"
    with pytest.raises(ConfigError, match=refused):
        RolloutPipeline(stage.collector, stage.scorer, loss())
    on_policy = Stage(tmp_path, staleness=0)
    RolloutPipeline(on_policy.collector, on_policy.scorer, loss())


def test_a_loss_that_weighs_nothing_by_an_advantage_needs_no_correction():
    class Supervised(Corrected):
        needs: ClassVar[frozenset[str]] = frozenset({"current"})

    assert (Supervised().corrects_age, Corrected().corrects_age, Uncorrected().corrects_age) == (True, True, False)


def test_a_reward_that_adapts_is_refused_where_rollouts_are_stale(tmp_path):
    with pytest.raises(ConfigError, match="reward Growing changes from step to step"):
        Stage(tmp_path, reward=Growing())
    Stage(tmp_path, reward=Growing(), staleness=0)


def test_a_stage_that_makes_rollouts_in_turn_does_not_ignore_the_option(tmp_path):
    with pytest.raises(ConfigError, match="makes its rollouts in turn with training"):
        Stage(tmp_path).collector.collect(1)
