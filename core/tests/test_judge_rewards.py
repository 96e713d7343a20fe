"""Judges of reward sources: whole batches, any finite number, and the errors of verifiers passed on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from collegium import Completion, Error, RewardContext, RewardSource, Sample, Score, Task, Verdict, Verifier
from collegium.errors import VerifierError
from collegium.job import ErrorPolicy
from collegium.judge import Judge, RewardJudge

TOLERANT = ErrorPolicy(budget=1.0)


class FailsOnDigits(Verifier):
    """Errs on a completion of digits, else scores 1."""

    def verify(self, completion: Completion, task: Task) -> Verdict:
        return Error(f"bad {completion.text}") if completion.text.isdigit() else Score(1.0)


def digit_judge(policy: ErrorPolicy = TOLERANT) -> Judge:
    return Judge(FailsOnDigits(), owner="acme-units", name="units", policy=policy, domain="physics")


def samples(*texts: str) -> list[Sample]:
    return [Sample(Task("t", "?", reference="1"), Completion(text)) for text in texts]


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """An event that hanging verifiers wait on; set at the end so that no thread outlives its test."""
    event = threading.Event()
    yield event
    event.set()


class Source(RewardSource):
    """A reward source that applies a function to its batch."""

    def __init__(self, behaviour: Callable[[Sequence[Sample]], Any]) -> None:
        super().__init__()
        self.behaviour = behaviour

    def score(self, batch: Sequence[Sample]) -> Sequence[Verdict]:
        return self.behaviour(batch)


def reward_judge(behaviour: Callable[[Sequence[Sample]], Any], policy: ErrorPolicy = TOLERANT) -> RewardJudge:
    return RewardJudge(Source(behaviour), owner="acme-rm", name="rm", policy=policy)


def test_a_reward_may_be_any_finite_number() -> None:
    judge = reward_judge(lambda batch: [Score(-3.5), Score(1e6)])
    assert judge.judge(samples("a", "b")) == [Score(-3.5), Score(1e6)]


def test_a_reward_source_sees_its_batch_whole_and_every_time() -> None:
    sizes: list[int] = []
    judge = reward_judge(lambda batch: sizes.append(len(batch)) or [Score(0.0)] * len(batch))
    judge.judge(samples("a", "a"))
    judge.judge(samples("a", "a"))
    assert sizes == [2, 2]
    assert judge.cached == 0


def test_a_reward_source_that_raises_or_hangs_errs_on_every_sample(gate: threading.Event) -> None:
    raising = reward_judge(lambda batch: batch[99])
    assert all(isinstance(v, Error) and v.owner == "acme-rm" for v in raising.judge(samples("a", "b")))
    hanging = reward_judge(lambda batch: gate.wait())
    hanging.source.timeout_s = 0.01  # type: ignore[misc]
    assert hanging.judge(samples("a", "b")) == [Error("still running after 0.02 s", "acme-rm")] * 2


def test_a_reward_source_with_the_wrong_length_stops() -> None:
    with pytest.raises(VerifierError, match="acme-rm/rm returned 1 verdicts for a batch of 2"):
        reward_judge(lambda batch: [Score(1.0)]).judge(samples("a", "b"))


def test_an_error_passed_on_is_its_verifiers_and_charged_there() -> None:
    context = RewardContext({"physics": digit_judge()})
    judge = reward_judge(lambda batch: context.judges["physics"].judge(batch), ErrorPolicy(budget=0.0, grace=0))
    assert judge.judge(samples("1")) == [Error("bad 1", "acme-units")]
    assert judge.errors == 0
    assert context.judges["physics"].errors == 1


def test_a_verifier_that_must_stop_the_run_does_so_through_a_reward_source() -> None:
    inner = digit_judge(ErrorPolicy(budget=0.0, grace=0))
    with pytest.raises(VerifierError) as caught:
        reward_judge(lambda batch: inner.judge(batch)).judge(samples("1"))
    assert caught.value.owner == "acme-units"
