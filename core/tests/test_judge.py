"""Judges: whatever a verifier does, the core gets one checked verdict per sample or a message that names the owner."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collegium import Abstain, Completion, Error, Sample, Score, Task, Verdict, Verifier
from collegium.errors import VerifierError
from collegium.guarded import MOST_ABANDONED
from collegium.job import ErrorPolicy
from collegium.judge import Judge

TOLERANT = ErrorPolicy(budget=1.0)


class Scripted(Verifier):
    """A verifier whose behaviour is a function of the completion's text; counts what it was asked."""

    timeout_s = 30.0

    def __init__(self, behaviour: Callable[[str], Any]) -> None:
        super().__init__()
        self.behaviour = behaviour
        self.asked: list[str] = []
        self.closed = False

    def verify(self, completion: Completion, task: Task) -> Verdict:
        self.asked.append(completion.text)
        return self.behaviour(completion.text)

    def close(self) -> None:
        self.closed = True


class Batched(Verifier):
    """A verifier that returns a fixed thing for a batch."""

    def __init__(self, returned: Any) -> None:
        super().__init__()
        self.returned = returned

    def verify_batch(self, completions: Sequence[Completion], tasks: Sequence[Task]) -> Sequence[Verdict]:
        return self.returned


def judge_of(verifier: Verifier, policy: ErrorPolicy = TOLERANT, **options: Any) -> Judge:
    return Judge(verifier, owner="acme-units", name="units", policy=policy, domain="physics", **options)


def samples(*texts: str) -> list[Sample]:
    return [Sample(Task("t", "?", reference="1"), Completion(text)) for text in texts]


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """An event that hanging verifiers wait on; set at the end so that no thread outlives its test."""
    event = threading.Event()
    yield event
    event.set()


def test_verdicts_come_back_in_order() -> None:
    judge = judge_of(Scripted(lambda text: Score(float(text))))
    assert [v.value for v in judge.judge(samples("0.1", "0.9", "0.5"))] == [0.1, 0.9, 0.5]
    assert (judge.judged, judge.errors, judge.abstained, judge.abandoned) == (3, 0, 0, 0)


def test_an_empty_batch_asks_nobody() -> None:
    assert judge_of(Batched(None)).judge([]) == []


def test_an_exception_is_an_error_of_the_owner_and_of_its_item_only() -> None:
    judge = judge_of(Scripted(lambda text: Score(1 / int(text))))
    good, bad, good_too = judge.judge(samples("1", "0", "2"))
    assert (good, good_too) == (Score(1.0), Score(0.5))
    assert bad == Error("raised ZeroDivisionError: division by zero", "acme-units")
    assert judge.errors == 1


@pytest.mark.parametrize("raised", [SystemExit(3), KeyboardInterrupt(), RecursionError("deep"), MemoryError()])
def test_no_kind_of_exception_leaves_a_verifier(raised: BaseException) -> None:
    def fail(text: str) -> Verdict:
        raise raised

    (verdict,) = judge_of(Scripted(fail)).judge(samples("x"))
    assert isinstance(verdict, Error)
    assert type(raised).__name__ in verdict.reason


@pytest.mark.parametrize("returned", [[], [Score(1)], [Score(1)] * 3, None, Score(1), iter([Score(1)] * 2), "ab"])
def test_a_wrong_number_of_verdicts_stops_and_names_the_owner(returned: Any) -> None:
    with pytest.raises(VerifierError, match=r"acme-units/units returned .* batch of 2 samples") as caught:
        judge_of(Batched(returned)).judge(samples("a", "b"))
    assert caught.value.owner == "acme-units"


@pytest.mark.parametrize("returned", [True, False, 0.5, 1, None, "Score(1)", (1.0,)])
def test_anything_but_a_verdict_is_an_error(returned: Any) -> None:
    (verdict,) = judge_of(Scripted(lambda text: returned)).judge(samples("x"))
    assert isinstance(verdict, Error)
    assert verdict.owner == "acme-units"
    assert "expected Score, Abstain or Error" in verdict.reason


@pytest.mark.parametrize("value", [-0.001, 1.001, 1e300])
def test_a_score_out_of_range_is_an_error(value: float) -> None:
    (verdict,) = judge_of(Scripted(lambda text: Score(value))).judge(samples("x"))
    assert isinstance(verdict, Error)
    assert repr(value) in verdict.reason
    assert "[0, 1]" in verdict.reason


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "1"])
def test_a_score_that_evades_its_own_check_is_an_error(value: Any) -> None:
    forged = Score(0.0)
    object.__setattr__(forged, "value", value)
    (verdict,) = judge_of(Scripted(lambda text: forged)).judge(samples("x"))
    assert isinstance(verdict, Error) if value != "1" else verdict == Score(1.0)


def test_a_score_is_a_plain_float() -> None:
    (verdict,) = judge_of(Scripted(lambda text: Score(True))).judge(samples("x"))
    assert type(verdict.value) is float


def test_a_verifiers_own_error_gets_its_owner() -> None:
    (verdict,) = judge_of(Scripted(lambda text: Error("no\ngold", owner="someone else"))).judge(samples("x"))
    assert verdict == Error("no gold", "acme-units")


def test_a_sample_without_completion_is_refused() -> None:
    with pytest.raises(ValueError, match="task 't' has no completion"):
        judge_of(Batched(None)).judge([Sample(Task("t", "?"))])


def test_a_hanging_item_does_not_poison_its_batch(gate: threading.Event) -> None:
    def hang(text: str) -> Verdict:
        if text == "hang":
            gate.wait()
        return Score(1.0)

    verifier = Scripted(hang)
    verifier.timeout_s = 0.2  # type: ignore[misc]  # a shorter limit than the class's, for the test
    judge = judge_of(verifier)
    before, bad, after = judge.judge(samples("a", "hang", "b"))
    assert (before, after) == (Score(1.0), Score(1.0))
    assert bad == Error("still running after 0.2 s", "acme-units")
    assert judge.abandoned == 2  # the batch's thread and the item's


def test_too_many_hanging_threads_stop_the_run(gate: threading.Event) -> None:
    verifier = Scripted(lambda text: gate.wait())
    verifier.timeout_s = 0.001  # type: ignore[misc]
    judge = judge_of(verifier)
    with pytest.raises(VerifierError, match=f"left {MOST_ABANDONED} calls hanging"):
        judge.judge(samples(*map(str, range(2 * MOST_ABANDONED))))


def test_a_batch_is_split_so_that_a_hang_is_noticed_in_time() -> None:
    class Sized(Batched):
        timeout_s = 600.0

        def verify_batch(self, completions: Sequence[Completion], tasks: Sequence[Task]) -> Sequence[Verdict]:
            sizes.append(len(completions))
            return [Score(1.0)] * len(completions)

    sizes: list[int] = []
    assert judge_of(Sized(None)).judge(samples(*map(str, range(15)))) == [Score(1.0)] * 15
    assert sizes == [6, 6, 3]


def test_equal_samples_are_judged_once() -> None:
    verifier = Scripted(lambda text: Score(1.0))
    judge = judge_of(verifier)
    judge.judge(samples("a", "a", "b"))
    judge.judge(samples("b", "a", "c"))
    assert verifier.asked == ["a", "b", "c"]
    assert (judge.judged, judge.cached) == (6, 3)


def test_the_cache_sees_all_that_a_verifier_can_read() -> None:
    verifier = Scripted(lambda text: Score(1.0))
    judge = judge_of(verifier)
    task = Task("t", "?", reference="1", data={"unit": "m"})
    variants = [
        Sample(task, Completion("a")),
        Sample(task, Completion("a", finish_reason="length")),
        Sample(task, Completion("a", token_ids=(1,))),
        Sample(Task("t", "?", reference="2", data={"unit": "m"}), Completion("a")),
        Sample(Task("t", "?", reference="1", data={"unit": "s"}), Completion("a")),
        Sample(Task("u", "?", reference="1", data={"unit": "m"}), Completion("a")),
    ]
    judge.judge(variants)
    assert len(verifier.asked) == len(variants)
    assert judge.cached == 0


def test_the_cache_is_bounded() -> None:
    verifier = Scripted(lambda text: Score(1.0))
    judge = judge_of(verifier, cache_size=2)
    judge.judge(samples("a", "b", "c"))
    judge.judge(samples("c"))
    judge.judge(samples("a"))
    assert verifier.asked == ["a", "b", "c", "a"]


def test_errors_are_not_kept() -> None:
    verifier = Scripted(lambda text: Error("busy"))
    judge = judge_of(verifier)
    judge.judge(samples("a"))
    judge.judge(samples("a"))
    assert verifier.asked == ["a", "a"]


def test_a_verifier_that_is_not_deterministic_is_asked_each_time() -> None:
    class Fickle(Scripted):
        deterministic = False

    verifier = Fickle(lambda text: Score(1.0))
    judge_of(verifier).judge(samples("a", "a"))
    assert verifier.asked == ["a", "a"]


def fail_on_digits(text: str) -> Verdict:
    return Error(f"bad {text}") if text.isdigit() else Score(1.0)


def test_a_spent_budget_stops_with_package_share_and_last_reasons() -> None:
    judge = judge_of(Scripted(fail_on_digits), ErrorPolicy(budget=0.25, grace=10))
    judge.judge(samples("1", "2", "a", "b", "c", "d", "e", "f", "g"))
    with pytest.raises(VerifierError) as caught:
        judge.judge(samples("3", "4", "5"))
    message = str(caught.value)
    assert "acme-units/units spent its error budget in domain 'physics': 5 of 12 verdicts (41.7%)" in message
    assert "(1) bad 3; (2) bad 4; (3) bad 5" in message
    assert caught.value.owner == "acme-units"


def test_the_budget_waits_for_its_grace() -> None:
    judge = judge_of(Scripted(fail_on_digits), ErrorPolicy(budget=0.0, grace=3))
    assert len(judge.judge(samples("1", "2"))) == 2
    with pytest.raises(VerifierError, match="3 of 3"):
        judge.judge(samples("3"))


def test_a_share_at_the_budget_is_within_it() -> None:
    judge = judge_of(Scripted(fail_on_digits), ErrorPolicy(budget=0.5, grace=0))
    assert len(judge.judge(samples("1", "a"))) == 2


def test_quarantine_abstains_from_then_on() -> None:
    verifier = Scripted(fail_on_digits)
    judge = judge_of(verifier, ErrorPolicy(budget=0.1, grace=2, on_exceeded="quarantine"))
    first = judge.judge(samples("1", "a"))
    assert [type(v) for v in first] == [Error, Score]
    assert judge.quarantined
    later = judge.judge(samples("b", "c"))
    assert all(isinstance(v, Abstain) and v.reason.startswith("quarantined: acme-units/units") for v in later)
    assert verifier.asked == ["1", "a"]
    assert judge.judged == 2


def test_abstentions_are_counted_and_are_no_errors() -> None:
    judge = judge_of(Scripted(lambda text: Abstain("no opinion")), ErrorPolicy(budget=0.0, grace=0))
    assert judge.judge(samples("a", "b")) == [Abstain("no opinion")] * 2
    assert (judge.abstained, judge.errors) == (2, 0)


def test_threads_share_one_judge() -> None:
    judge = judge_of(Scripted(lambda text: Score(float(text) / 100)))
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda start: judge.judge(samples(*map(str, range(start, start + 20)))), range(40)))
    assert [[v.value for v in row] for row in results] == [[i / 100 for i in range(s, s + 20)] for s in range(40)]
    assert judge.judged == 800


def test_close_reaches_the_verifier() -> None:
    verifier = Scripted(lambda text: Score(1.0))
    judge_of(verifier).close()
    assert verifier.closed


@given(st.text(), st.sampled_from(["score", "raise", "abstain", "error", "junk"]))
def test_any_text_and_any_behaviour_give_one_verdict(text: str, kind: str) -> None:
    def behave(seen: str) -> Any:
        if kind == "raise":
            raise RuntimeError(seen)
        return {"score": Score(0.5), "abstain": Abstain(seen), "error": Error(seen), "junk": seen}[kind]

    (verdict,) = judge_of(Scripted(behave)).judge(samples(text))
    expected = {"score": Score, "abstain": Abstain}.get(kind, Error)
    assert isinstance(verdict, expected)
