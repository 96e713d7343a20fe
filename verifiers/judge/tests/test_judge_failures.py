"""A service that misbehaves: what is asked again, what is not, and what each comes to. Nothing ever becomes a score."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

import pytest

from collegium import Abstain, Completion, ConfigError, Error, Score, Task, Verdict
from collegium.endpoints import retry_after
from collegium_verifier_judge.verifier import JudgeVerifier

Build = Callable[..., JudgeVerifier]
TASK = Task("t1", "name colours", "red green")
KEY = "sk-very-secret-0123456789"


class Waits:
    """Stands in for the event on which a judge waits: notes the seconds instead of letting them pass."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def wait(self, seconds: float) -> bool:
        self.seconds.append(seconds)
        return False

    def set(self) -> None:
        pass


def without_waiting(judge: JudgeVerifier) -> list[float]:
    waits = Waits()
    judge._asker._closed = waits  # type: ignore[assignment]
    return waits.seconds


def judged(judge: JudgeVerifier, text: str = "alpha beta") -> Verdict:
    return judge.verify(Completion(text), TASK)


def reason(verdict: Verdict) -> str:
    assert isinstance(verdict, Error), verdict
    return verdict.reason


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 529])
def test_a_busy_or_failing_service_is_asked_again(
    judge_of: Build, endpoint: Any, scripted: ModuleType, status: int
) -> None:
    endpoint.script = [scripted.Behaviour(status, raw=b"busy")] * 2
    verdict = judged(judge_of())
    assert isinstance(verdict, Score)
    assert verdict.value == 0.5
    assert verdict.details["usage"]["calls"] == len(endpoint.seen) == 3


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 413, 422])
def test_a_refused_request_is_not_asked_again(
    judge_of: Build, endpoint: Any, scripted: ModuleType, status: int
) -> None:
    endpoint.always = scripted.Behaviour(status, {"Location": "/elsewhere"}, raw=b'{"error": "not so"}')
    assert f"answered {status}" in reason(judged(judge_of()))
    assert "not so" in reason(judged(judge_of()))
    assert len(endpoint.seen) == 2


def test_retries_end(judge_of: Build, endpoint: Any, scripted: ModuleType) -> None:
    endpoint.always = scripted.Behaviour(500, raw=b"broken")
    assert "500: Internal Server Error broken (after 3 attempts)" in reason(judged(judge_of(retries=2)))
    assert len(endpoint.seen) == 3


def test_waits_double_below_a_bound_and_repeat_with_the_seed(
    judge_of: Build, endpoint: Any, scripted: ModuleType
) -> None:
    endpoint.always = scripted.Behaviour(500, raw=b"")
    runs = []
    for seed in (1, 1, 2):
        judge = judge_of(retries=5, backoff_s=0.5, seed=seed)
        waits = without_waiting(judge)
        judged(judge)
        assert len(waits) == 5
        assert all(0 <= wait <= 0.5 * 2**attempt for attempt, wait in enumerate(waits))
        runs.append(waits)
    assert runs[0] == runs[1] != runs[2]


def test_retry_after_is_honoured(judge_of: Build, endpoint: Any, scripted: ModuleType) -> None:
    endpoint.script = [scripted.Behaviour(429, {"Retry-After": "7"}, raw=b"")]
    judge = judge_of()
    waits = without_waiting(judge)
    assert isinstance(judged(judge), Score)
    assert waits == [7.0]


def test_a_wait_that_would_be_too_late_is_not_begun(judge_of: Build, endpoint: Any, scripted: ModuleType) -> None:
    endpoint.always = scripted.Behaviour(429, {"Retry-After": "3600"}, raw=b"later")
    assert "in 3.6e+03 s, would be too late" in reason(judged(judge_of()))
    assert len(endpoint.seen) == 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0),
        ("5", 5),
        ("0", 0),
        ("-3", 0),
        ("soon", 0),
        ("٣", 0),
        ("Tue, 24 Nov 2026 10:00:30 GMT", 30),
        ("Tue, 24 Nov 2026 09:00:00 GMT", 0),
        ("9" * 400, 1e9),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float) -> None:
    assert retry_after(header, datetime(2026, 11, 24, 10, tzinfo=UTC)) == seconds


@pytest.mark.parametrize("behaviour", [{"hang": True}, {"trickle": True}])
def test_a_service_that_does_not_answer_in_time_is_an_error(
    judge_of: Build, endpoint: Any, scripted: ModuleType, behaviour: dict[str, bool]
) -> None:
    endpoint.always = scripted.Behaviour(**behaviour)
    assert "no reply within 0.2 s" in reason(judged(judge_of(request_s=0.2, retries=1)))
    assert len(endpoint.seen) == 2


def test_an_items_time_ends_its_attempts(judge_of: Build, endpoint: Any, scripted: ModuleType) -> None:
    endpoint.always = scripted.Behaviour(hang=True)
    found = reason(judged(judge_of(request_s=0.2, item_s=0.5, retries=20, backoff_s=0.05)))
    assert "would be too late" in found
    assert len(endpoint.seen) < 6


def test_a_service_that_is_not_there_is_an_error(judge_of: Build) -> None:
    found = reason(judged(judge_of(endpoint="http://127.0.0.1:9/v1", retries=1)))
    assert "ConnectError" in found
    assert "after 2 attempts" in found


def test_a_reply_that_breaks_off_is_asked_again(judge_of: Build, endpoint: Any, scripted: ModuleType) -> None:
    endpoint.script = [scripted.Behaviour(cut=True)]
    assert isinstance(judged(judge_of()), Score)
    assert len(endpoint.seen) == 2


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"garbage \xff",
        b"[1, 2]",
        b'{"choices": [',
        b'{"choices": []}',
        b'{"choices": [3]}',
        b'{"error": "x"}',
        b"[" * 100_000,
    ],
)
def test_a_reply_that_is_no_chat_completion_is_an_error(
    judge_of: Build, endpoint: Any, scripted: ModuleType, raw: bytes
) -> None:
    endpoint.always = scripted.Behaviour(raw=raw)
    assert "the reply is no" in reason(judged(judge_of(retries=1)))
    assert len(endpoint.seen) == 2


def test_a_reply_without_end_is_given_up(judge_of: Build, endpoint: Any, scripted: ModuleType) -> None:
    endpoint.always = scripted.Behaviour(raw=b'"' + b"x" * 5_000_000 + b'"')
    assert "more than 4000000 bytes" in reason(judged(judge_of()))


def with_(seen: Any, **changes: Any) -> dict[str, Any]:
    return {"token": seen.token, "reason": "r", "points": 5, **changes}


BAD_ANSWERS: dict[str, Callable[[Any], Any]] = {
    "prose": lambda seen: "I would give it 7 points.",
    "empty": lambda seen: "",
    "cut JSON": lambda seen: json.dumps(with_(seen))[:-5],
    "fenced JSON": lambda seen: f"```json\n{json.dumps(with_(seen))}\n```",
    "two objects": lambda seen: json.dumps(with_(seen)) * 2,
    "text after": lambda seen: json.dumps(with_(seen)) + " So there.",
    "a list": lambda seen: json.dumps([with_(seen)]),
    "no token": lambda seen: {"reason": "r", "points": 5},
    "another token": lambda seen: with_(seen, token="0" * 12),
    "no points": lambda seen: {"token": seen.token, "reason": "r"},
    "another key": lambda seen: with_(seen, confidence=1),
    "points as text": lambda seen: with_(seen, points="5"),
    "points as truth": lambda seen: with_(seen, points=True),
    "no number": lambda seen: json.dumps(with_(seen)).replace("5}", "NaN}"),
    "infinite": lambda seen: json.dumps(with_(seen)).replace("5}", "1e999}"),
    "too many": lambda seen: with_(seen, points=10.5),
    "too few": lambda seen: with_(seen, points=-1),
    "huge": lambda seen: with_(seen, points=10**400),
    "reason is no text": lambda seen: with_(seen, reason=None),
    "points twice": lambda seen: json.dumps(with_(seen)).replace("}", ', "points": 10}'),
    "deep": lambda seen: "[" * 200_000,
    "no text": lambda seen: None,
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_an_unusable_answer_is_asked_again_and_then_an_error(
    judge_of: Build, endpoint: Any, scripted: ModuleType, name: str
) -> None:
    endpoint.always = scripted.Behaviour(rule=BAD_ANSWERS[name])
    judge = judge_of(retries=1)
    assert "the judge" in reason(judged(judge))
    assert len(endpoint.seen) == 2
    endpoint.always = scripted.Behaviour()
    assert isinstance(judged(judge), Score)  # the failure was not kept


def test_another_attempt_may_be_usable(judge_of: Build, endpoint: Any, scripted: ModuleType) -> None:
    endpoint.script = [scripted.Behaviour(rule=BAD_ANSWERS["prose"])]
    verdict = judged(judge_of())
    assert isinstance(verdict, Score)
    assert verdict.details["usage"] == {"prompt_tokens": 200, "completion_tokens": 40, "calls": 2}
    assert endpoint.seen[0].token != endpoint.seen[1].token


@pytest.mark.parametrize(
    ("behaviour", "why"),
    [
        ({"finish": "length"}, "cut at max_answer_tokens"),
        ({"finish": "content_filter"}, "'content_filter'"),
        ({"message": {"refusal": "I would rather not"}}, "refused: 'I would rather not'"),
    ],
)
def test_an_answer_that_was_cut_filtered_or_refused_is_an_error_at_once(
    judge_of: Build, endpoint: Any, scripted: ModuleType, behaviour: dict[str, Any], why: str
) -> None:
    endpoint.always = scripted.Behaviour(**behaviour)
    assert why in reason(judged(judge_of()))
    assert len(endpoint.seen) == 1


@pytest.mark.parametrize("winner", ["C", "a", "", None, 1, ["A"]])
def test_an_unknown_winner_is_an_error(judge_of: Build, endpoint: Any, scripted: ModuleType, winner: object) -> None:
    endpoint.always = scripted.Behaviour(rule=lambda seen: {"token": seen.token, "reason": "", "winner": winner})
    assert "winner" in reason(judged(judge_of(mode="pairwise", retries=0)))


def test_a_bad_item_does_not_spoil_its_batch(judge_of: Build, endpoint: Any, scripted: ModuleType) -> None:
    def rule(seen: Any) -> Any:
        return "no JSON" if "bad" in seen.texts["RESPONSE"] else scripted.honest(seen)

    endpoint.always = scripted.Behaviour(rule=rule)
    texts = ["alpha", "bad", "alpha beta"]
    verdicts = judge_of(retries=1).verify_batch([Completion(text) for text in texts], [TASK] * 3)
    assert [type(verdict) for verdict in verdicts] == [Score, Error, Score]


def test_the_key_is_sent_and_stands_nowhere_else(
    judge_of: Build,
    endpoint: Any,
    scripted: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("JUDGE_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    endpoint.script = [
        scripted.Behaviour(),
        scripted.Behaviour(401, raw=f"bad key {KEY}".encode()),
        scripted.Behaviour(500, raw=f"key {KEY}".encode()),
    ]
    judge = judge_of(api_key_env="JUDGE_KEY", retries=0)
    verdicts = [judged(judge, text) for text in ("alpha", "beta", "gamma")]
    assert endpoint.seen[0].headers["Authorization"] == f"Bearer {KEY}"
    assert "[key]" in reason(verdicts[1])
    assert "[key]" in reason(verdicts[2])
    assert KEY not in repr([*verdicts, judge.config, vars(judge)]) + caplog.text


@pytest.mark.parametrize("key", [None, "", "has space", "line\nbreak", "ключ"])
def test_a_key_that_is_missing_or_no_key_is_refused(
    judge_of: Build, monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    if key is not None:
        monkeypatch.setenv("JUDGE_KEY", key)
    with pytest.raises(ConfigError, match="JUDGE_KEY") as caught:
        judge_of(api_key_env="JUDGE_KEY")
    assert not key or key not in str(caught.value)


def test_without_a_key_none_is_sent(judge_of: Build, endpoint: Any) -> None:
    judged(judge_of())
    assert "Authorization" not in endpoint.seen[0].headers


class TestBudget:
    @pytest.mark.parametrize(
        ("budget", "asked"),
        [
            ({"calls": 2}, 2),
            ({"calls": 0}, 0),
            ({"tokens": 200}, 2),
            ({"cost": 0.0025, "prompt_price": 10, "completion_price": 20}, 2),
        ],
    )
    def test_beyond_it_everything_is_an_error_and_nothing_is_asked(
        self, judge_of: Build, endpoint: Any, budget: dict[str, Any], asked: int
    ) -> None:
        judge = judge_of(budget=budget)
        verdicts = [judged(judge, text) for text in ("alpha", "beta", "gamma", "delta")]
        assert [type(verdict) for verdict in verdicts] == [Score] * asked + [Error] * (4 - asked)
        assert "budget is spent" in reason(verdicts[-1])
        assert len(endpoint.seen) == asked

    def test_or_an_abstention_if_so_configured(self, judge_of: Build) -> None:
        verdict = judged(judge_of(budget={"calls": 0, "when_spent": "abstain"}))
        assert isinstance(verdict, Abstain)
        assert "0 of 0 calls (budget.calls)" in verdict.reason

    def test_repetitions_count(self, judge_of: Build, endpoint: Any, scripted: ModuleType) -> None:
        endpoint.always = scripted.Behaviour(500, raw=b"")
        assert "2 of 2 calls" in reason(judged(judge_of(budget={"calls": 2})))
        assert len(endpoint.seen) == 2

    def test_calls_are_kept_exactly_among_threads(self, judge_of: Build, endpoint: Any) -> None:
        judge = judge_of(budget={"calls": 10}, concurrency=8)
        verdicts = judge.verify_batch([Completion(f"alpha {n}") for n in range(30)], [TASK] * 30)
        assert sum(isinstance(verdict, Score) for verdict in verdicts) == len(endpoint.seen) == 10
        assert judge.spent.to_json() == {"prompt_tokens": 1000, "completion_tokens": 200, "calls": 10}

    def test_a_service_that_reports_no_usage_cannot_be_budgeted_by_tokens(
        self, judge_of: Build, endpoint: Any, scripted: ModuleType
    ) -> None:
        endpoint.always = scripted.Behaviour(usage=False)
        assert "reports no token usage" in reason(judged(judge_of(budget={"tokens": 1000})))
        assert isinstance(judged(judge_of(budget={"calls": 1000})), Score)
