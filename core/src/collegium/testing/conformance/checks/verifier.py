"""Checks of verifiers: verdicts, batches, determinism, threads, hostile input, time."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence

from collegium.job import ErrorPolicy
from collegium.judge import Judge
from collegium.task import Completion, Sample
from collegium.testing.conformance.check import check
from collegium.testing.conformance.exercise import (
    Item,
    Outcome,
    hostile_items,
    judge,
    judge_batch,
    labelled_items,
    mixed_items,
    outcome_of,
)
from collegium.testing.conformance.inputs import HOSTILE, HUGE
from collegium.testing.conformance.outcome import CheckFailed, NotApplicable, require
from collegium.testing.conformance.subject import Subject, close
from collegium.time_limit import CallFailed, TimeLimitExceeded, call_within
from collegium.verdict import Score, Verdict

VERDICTS = ("score", "abstain", "error")
HANG_LIMIT_S = 1.0
"""Time limit under which a hanging input is judged."""


@check("verifier")
def verdict_types(subject: Subject) -> None:
    """`verify` returns Score, Abstain or Error, and scores are finite and in [0, 1]."""
    for item in labelled_items(subject):
        _require_verdict(judge(subject.shared, item), f"the completion {item[0].text[:60]!r}")


@check("verifier")
def hostile_completions(subject: Subject) -> None:
    """Empty, malformed, unicode, surrogate and NUL completions get a verdict and raise nothing."""
    for name, item in zip(HOSTILE, hostile_items(subject), strict=True):
        _require_verdict(judge(subject.shared, item), f"a hostile completion ({name})")


@check("verifier")
def huge_completions(subject: Subject) -> None:
    """A completion of a megabyte gets a verdict within the verifier's own time limit."""
    for name, item in zip(HUGE, hostile_items(subject, HUGE), strict=True):
        _require_verdict(judge(subject.shared, item), name)


@check("verifier")
def batch_length(subject: Subject) -> None:
    """`verify_batch` returns one verdict per item, also for one item and for none."""
    items = mixed_items(subject)
    for count in (0, 1, 2, len(items)):
        found = _batch(subject, items[:count])
        require(len(found) == count, f"verify_batch returned {len(found)} verdicts for {count} items")
        for verdict in found:
            _require_verdict(outcome_of(verdict), "an item of a batch")


@check("verifier")
def batch_equals_items(subject: Subject) -> None:
    """`verify_batch` gives each item the verdict that `verify` gives it, bad items among good ones."""
    _require_deterministic(subject)
    items = mixed_items(subject)
    _require_same(items, _outcomes(subject, items), [outcome_of(each) for each in _batch(subject, items)], "in a batch")


@check("verifier")
def batch_order(subject: Subject) -> None:
    """A shuffled batch gets the shuffled verdicts."""
    _require_deterministic(subject)
    items = mixed_items(subject)
    expected = [outcome_of(each) for each in _batch(subject, items)]
    for seed in range(2):
        order = random.Random(seed).sample(range(len(items)), len(items))
        found = _batch(subject, [items[row] for row in order])
        shuffled, wanted = [items[row] for row in order], [expected[row] for row in order]
        _require_same(shuffled, wanted, [outcome_of(each) for each in found], "in a shuffled batch")


@check("verifier")
def deterministic_verdicts(subject: Subject) -> None:
    """The same item gets the same verdict again, in another order, and from a new instance."""
    _require_deterministic(subject)
    items = mixed_items(subject)
    first = _outcomes(subject, items)
    for _ in range(2):
        again = _outcomes(subject, items[::-1])[::-1]
        _require_same(items, first, again, "when judged again")
    fresh = subject.build()
    try:
        _require_same(items, first, [judge(fresh, item) for item in items], "from a new instance")
    finally:
        close(fresh)


@check("verifier")
def thread_safe(subject: Subject) -> None:
    """Four threads that share an instance get the verdicts that one thread gets."""
    _require_deterministic(subject)
    items = mixed_items(subject)
    expected = _outcomes(subject, items)
    found: dict[int, list[Outcome]] = {}
    barrier = threading.Barrier(4)

    def work(number: int) -> None:
        order = random.Random(number).sample(range(len(items)), len(items))
        barrier.wait()
        rows = {row: judge(subject.shared, items[row]) for row in order}
        found[number] = [rows[row] for row in range(len(items))]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    require(len(found) == 4, "a thread ended early")
    for outcomes in found.values():
        _require_same(items, expected, outcomes, "beside other threads")


@check("verifier")
def labels_agree(subject: Subject) -> None:
    """Right answers get 1 and wrong ones do not, where cases are given."""
    labelled = [case for case in subject.cases if case.expected in (0, 1)]
    if not labelled:
        raise NotApplicable("no labelled cases")
    wrong = []
    for case in labelled:
        outcome = judge(subject.shared, (Completion(case.completion), case.as_task()))
        if (outcome == ["score", 1.0]) != (case.expected == 1):
            wrong.append(f"{case.id!r} (expected {case.expected:g}): {outcome}")
    require(not wrong, f"{len(wrong)} of {len(labelled)} cases: {'; '.join(wrong[:3])}")


@check("verifier")
def time_limit(subject: Subject) -> None:
    """An input that hangs ends in a verdict within the core's time limit, and good ones are judged after it."""
    hanging = [case for case in subject.all_cases if case.hangs]
    if not hanging:
        raise NotApplicable('no case with "hangs": true')
    verifier = subject.build()
    verifier.timeout_s = min(HANG_LIMIT_S, verifier.timeout_s)
    policy = ErrorPolicy(budget=1.0)
    judge_ = Judge(verifier, owner=subject.name, name=subject.kind, policy=policy, domain="conformance")
    samples = [case.as_sample() for case in hanging]
    good = [Sample(task, completion) for completion, task in labelled_items(subject)[:1]]
    try:
        seconds = 10 + 3 * verifier.timeout_s * len(samples)
        late = call_within(seconds, lambda: judge_.judge(samples))
        require(all(not isinstance(each, Score) or each.value < 1 for each in late), "a hanging input is right")
        verifier.timeout_s = type(verifier).timeout_s
        after = [outcome_of(each) for each in judge_.judge(good)]
        require(after == _outcomes(subject, labelled_items(subject)[:1]), f"after a hanging input: {after}")
    except TimeLimitExceeded as error:
        raise CheckFailed(f"a hanging input is {error}: it holds the interpreter; judge it in a process") from error
    finally:
        close(verifier)


def _outcomes(subject: Subject, items: Sequence[Item]) -> list[Outcome]:
    return [judge(subject.shared, item) for item in items]


def _batch(subject: Subject, items: Sequence[Item]) -> list[Verdict]:
    try:
        found = judge_batch(subject.shared, items)
    except CallFailed as failed:
        raise CheckFailed(f"verify_batch of {len(items)} items {failed}") from failed
    except TimeLimitExceeded as late:
        raise CheckFailed(f"verify_batch of {len(items)} items: {late}") from late
    require(isinstance(found, Sequence), f"verify_batch returned a {type(found).__name__}, expected a sequence")
    return list(found)


def _require_verdict(outcome: Outcome, what: str) -> None:
    require(outcome[0] in VERDICTS, f"{what}: {' '.join(map(str, outcome))}; expected Score, Abstain or Error")
    # A comparison with NaN is false, so NaN fails here.
    require(outcome[0] != "score" or 0 <= outcome[1] <= 1, f"{what}: a score of {outcome[-1]}, expected one in [0, 1]")


def _require_same(items: Sequence[Item], expected: list[Outcome], found: list[Outcome], when: str) -> None:
    require(len(found) == len(expected), f"{len(found)} verdicts for {len(expected)} items {when}")
    for item, wanted, got in zip(items, expected, found, strict=True):
        require(wanted == got, f"{item[0].text[:60]!r} of task {item[1].id!r}: {wanted}, but {got} {when}")


def _require_deterministic(subject: Subject) -> None:
    if not subject.shared.deterministic:
        raise NotApplicable("it is declared not deterministic")
