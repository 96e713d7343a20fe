"""What the judge is asked and what becomes of its answers, in the three modes, over real HTTP."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from collegium import Abstain, Completion, ConfigError, Error, Score, Task
from collegium_verifier_judge.verifier import JudgeVerifier

Build = Callable[..., JudgeVerifier]
TASK = Task("t1", "name red green blue", "red green")


def test_points_become_a_score_between_0_and_1(judge_of: Build) -> None:
    judge = judge_of(scale=8)
    verdict = judge.verify(Completion("alpha and gamma"), TASK)
    assert isinstance(verdict, Score)
    assert verdict.value == 0.5
    assert verdict.details["points"] == 4
    assert verdict.details["usage"] == {"prompt_tokens": 100, "completion_tokens": 20, "calls": 1}
    assert verdict.details["judge"] == "rule"
    assert verdict.details["reason"] == "share of the words"


def test_reference_mode_shows_the_reference(judge_of: Build, endpoint: Any) -> None:
    judge = judge_of(mode="reference")
    right, half = judge.verify(Completion("red green"), TASK), judge.verify(Completion("red"), TASK)
    assert isinstance(right, Score)
    assert right.value == 1
    assert isinstance(half, Score)
    assert half.value == 0.5
    assert endpoint.seen[0].texts == {
        "PROMPT": "name red green blue",
        "REFERENCE": "red green",
        "RESPONSE": "red green",
    }


@pytest.mark.parametrize("mode", ["reference", "pairwise"])
@pytest.mark.parametrize("reference", [None, "", " \n"])
def test_a_missing_reference_is_an_error_and_nothing_is_asked(
    judge_of: Build, endpoint: Any, mode: str, reference: str | None
) -> None:
    verdict = judge_of(mode=mode).verify(Completion("red"), Task("t9", "?", reference))
    assert isinstance(verdict, Error)
    assert "'t9' has no reference" in verdict.reason
    assert endpoint.seen == []


@pytest.mark.parametrize(("completion", "value"), [("red green blue", 1.0), ("red blue", 0.5), ("none of them", 0.0)])
def test_pairwise_asks_both_orders(judge_of: Build, endpoint: Any, completion: str, value: float) -> None:
    verdict = judge_of(mode="pairwise").verify(Completion(completion), TASK)
    assert isinstance(verdict, Score)
    assert verdict.value == value
    assert verdict.details["orders_agree"] is True
    assert verdict.details["usage"]["calls"] == 2
    places = [(seen.texts["RESPONSE A"], seen.texts["RESPONSE B"]) for seen in endpoint.seen]
    assert places == [(completion, "red green"), ("red green", completion)]


def always_a(seen: Any) -> dict[str, Any]:
    return {"token": seen.token, "reason": "it comes first", "winner": "A"}


def test_a_judge_that_prefers_a_place_gives_a_tie(judge_of: Build, endpoint: Any, scripted: ModuleType) -> None:
    endpoint.always = scripted.Behaviour(rule=always_a)
    verdict = judge_of(mode="pairwise").verify(Completion("red green blue"), TASK)
    assert isinstance(verdict, Score)
    assert verdict.value == 0.5
    assert verdict.details["orders_agree"] is False
    assert (verdict.details["shown_first"], verdict.details["shown_second"]) == (1.0, 0.0)


def test_or_no_opinion_if_so_configured(judge_of: Build, endpoint: Any, scripted: ModuleType) -> None:
    endpoint.always = scripted.Behaviour(rule=always_a)
    verdict = judge_of(mode="pairwise", disagreement="abstain").verify(Completion("red green blue"), TASK)
    assert isinstance(verdict, Abstain)
    assert "depends on the order" in verdict.reason


def test_a_win_and_a_tie_do_not_agree(judge_of: Build, endpoint: Any, scripted: ModuleType) -> None:
    winners = iter(["A", "tie"])
    endpoint.always = scripted.Behaviour(rule=lambda seen: {"token": seen.token, "reason": "", "winner": next(winners)})
    verdict = judge_of(mode="pairwise", disagreement="abstain").verify(Completion("red"), TASK)
    assert isinstance(verdict, Abstain)


def test_the_rubric_may_lie_in_a_file_that_is_part_of_the_fingerprint(
    judge_of: Build, endpoint: Any, tmp_path: Path
) -> None:
    file = tmp_path / "rubric.txt"
    file.write_text("Mention: äther {curly} alpha", encoding="utf-8")
    judge = judge_of(rubric_file=file)
    verdict = judge.verify(Completion("alpha äther"), TASK)
    assert "Mention: äther {curly} alpha" in endpoint.seen[0].system
    assert isinstance(verdict, Score)
    assert verdict.value == pytest.approx(2 / 3, abs=1e-3)
    assert judge.config.content_paths() == (file,)


def test_a_rubric_file_that_is_missing_or_blank_is_refused(judge_of: Build, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        judge_of(rubric_file=tmp_path / "none.txt")
    (tmp_path / "blank.txt").write_text(" \n")
    with pytest.raises(ConfigError, match="is blank"):
        judge_of(rubric_file=tmp_path / "blank.txt")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"rubric": " "}, "rubric is blank"),
        ({"rubric": "x", "rubric_file": "y"}, "either rubric or rubric_file"),
        ({}, "either rubric or rubric_file"),
        ({"rubric": "x", "endpoint": "localhost:8000"}, "must be a URL"),
        ({"rubric": "x", "endpoint": "https://user:secret@host/v1"}, "must not carry credentials"),
        ({"rubric": "x", "endpoint": "https://host/v1?key=1"}, "must not carry credentials"),
        ({"rubric": "x", "params": {"messages": []}}, "must not hold messages"),
        ({"rubric": "x", "api_key_env": "sk-12345"}, "api_key_env"),
        ({"rubric": "x", "item_s": 100, "request_s": 30}, "at most 110"),
        ({"rubric": "x", "budget": {"cost": 1}}, "needs prompt_price"),
        ({"rubric": "x", "key": "y"}, "Extra inputs"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        JudgeVerifier({"endpoint": "http://host/v1", "model": "m", **options})


def test_a_long_completion_is_shown_in_part_and_the_judge_is_told(judge_of: Build, endpoint: Any) -> None:
    text = "alpha " + "x" * 1000 + " beta"
    verdict = judge_of(max_characters=100).verify(Completion(text), TASK)
    shown = endpoint.seen[0].texts["RESPONSE"]
    assert shown.startswith("alpha")
    assert shown.endswith("beta")
    assert f"[{endpoint.seen[0].token}: {len(text) - 100} characters are left out here" in shown
    assert len(shown) < 250
    assert isinstance(verdict, Score)
    assert verdict.details["cut_characters"] == len(text) - 100


def test_a_completion_that_hit_its_token_limit_is_named_so(judge_of: Build, endpoint: Any) -> None:
    judge_of().verify(Completion("alpha", "length"), TASK)
    assert "RESPONSE (CUT OFF AT ITS TOKEN LIMIT)" in endpoint.seen[0].body["messages"][1]["content"]


def test_chat_prompts_are_shown_with_their_roles(judge_of: Build, endpoint: Any) -> None:
    chat = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Colours?"})
    judge_of().verify(Completion("alpha"), Task("t", chat))  # type: ignore[arg-type]
    assert endpoint.seen[0].texts["PROMPT"] == "[system]\nBe brief.\n\n[user]\nColours?"


def test_the_request_is_what_the_options_say(judge_of: Build, endpoint: Any) -> None:
    judge_of(response_format="json_schema", params={"seed": 3}, max_answer_tokens=99).verify(Completion("a"), TASK)
    judge_of(response_format="text", temperature=None).verify(Completion("a"), TASK)
    first, second = (seen.body for seen in endpoint.seen)
    assert (first["model"], first["temperature"], first["max_tokens"], first["seed"]) == ("rule", 0.0, 99, 3)
    schema = first["response_format"]["json_schema"]
    assert schema["strict"] is True
    assert set(schema["schema"]["required"]) == {"token", "reason", "points"}
    assert "response_format" not in second
    assert "temperature" not in second


def test_a_batch_keeps_its_order_asks_several_at_once_and_equal_items_once(judge_of: Build, endpoint: Any) -> None:
    endpoint.pause_s = 0.05
    texts = ["alpha", "beta alpha", "nothing", "alpha", "alpha beta gamma", "alpha beta gamma delta", "beta alpha", "x"]
    verdicts = judge_of(concurrency=3).verify_batch([Completion(text) for text in texts], [TASK] * len(texts))
    assert [verdict.value for verdict in verdicts if isinstance(verdict, Score)] == [
        0.25, 0.5, 0, 0.25, 0.75, 1, 0.5, 0,
    ]  # fmt: skip
    assert len(endpoint.seen) == 6
    assert 2 <= endpoint.most_at_once <= 3


def test_an_empty_batch_has_no_verdicts(judge_of: Build) -> None:
    assert list(judge_of().verify_batch([], [])) == []
