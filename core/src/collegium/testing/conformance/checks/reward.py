"""Checks of reward sources: one finite verdict per sample, in order, the same again."""

from __future__ import annotations

import random
from collections.abc import Sequence

from collegium.kinds.reward import RewardConfig
from collegium.task import Sample
from collegium.testing.conformance.check import check
from collegium.testing.conformance.exercise import Outcome, outcome_of, reward_context, reward_samples
from collegium.testing.conformance.outcome import CheckFailed, NotApplicable, require
from collegium.testing.conformance.subject import Subject, close
from collegium.time_limit import CallFailed, TimeLimitExceeded, call_within


@check("reward")
def finite_rewards(subject: Subject) -> None:
    """`score` gives one verdict per sample, hostile ones and none included, and scores are finite."""
    samples = reward_samples(subject)
    for batch in ([], samples[:1], samples):
        for outcome in _score(subject, batch):
            require(outcome[0] in ("score", "abstain", "error"), f"{' '.join(map(str, outcome))}, expected a verdict")
            require(outcome[0] != "score" or abs(outcome[1]) < float("inf"), f"a reward of {outcome[-1]}")


@check("reward")
def rewards_repeat(subject: Subject) -> None:
    """The same batch gets the same rewards again."""
    samples = reward_samples(subject)
    first, again = _score(subject, samples), _score(subject, samples)
    require(first == again, f"first {first}, then {again}")


@check("reward")
def rewards_in_order(subject: Subject) -> None:
    """A shuffled batch gets the shuffled rewards."""
    samples = reward_samples(subject)
    expected = _score(subject, samples)
    order = random.Random(0).sample(range(len(samples)), len(samples))
    found = _score(subject, [samples[row] for row in order])
    wanted = [expected[row] for row in order]
    require(found == wanted, f"expected {wanted} after shuffling, found {found}")


def _score(subject: Subject, batch: Sequence[Sample]) -> list[Outcome]:
    source = subject.build()
    if isinstance(source.config, RewardConfig) and source.config.models_needed():
        raise NotApplicable("it scores with reward models of the recipe: pass options that name some")
    try:
        source.prepare(reward_context(reward_samples(subject)))
        found = call_within(source.timeout_s * max(1, len(batch)), lambda: source.score(batch))
    except (CallFailed, TimeLimitExceeded) as error:
        raise CheckFailed(f"score of {len(batch)} samples: {error}") from error
    finally:
        close(source)
    require(isinstance(found, Sequence), f"score returned a {type(found).__name__}, expected a sequence")
    require(len(found) == len(batch), f"score returned {len(found)} verdicts for {len(batch)} samples")
    return [outcome_of(verdict) for verdict in found]
