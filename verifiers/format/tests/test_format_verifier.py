"""The format and length verifiers: each check alone, scores, refusals, and hostile completions."""

from __future__ import annotations

import json
import sys
from importlib.metadata import entry_points
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from collegium import Completion, ConfigError, Error, Score, Task, Verdict
from collegium_verifier_format.layout import FormatVerifier, has_text
from collegium_verifier_format.length import LengthVerifier

TASK = Task("t1", "?")
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}


def form(text: str, finish_reason: Any = "stop", **options: Any) -> Verdict:
    return FormatVerifier(options).verify(Completion(text, finish_reason), TASK)


def holds(text: str, **options: Any) -> bool:
    verdict = form(text, **options)
    assert isinstance(verdict, Score), verdict
    return verdict.value == 1.0


def length(text: str, token_ids: tuple[int, ...] = (), **options: Any) -> Verdict:
    return LengthVerifier(options).verify(Completion(text, token_ids=token_ids), TASK)


def test_all_are_discovered_through_their_entry_point() -> None:
    (entry,) = entry_points(group="collegium", name="collegium-verifier-format")
    offered = {each.name: each.target for each in entry.load().register_verifiers()}
    assert offered == {
        "format": "collegium_verifier_format.layout:FormatVerifier",
        "length": "collegium_verifier_format.length:LengthVerifier",
        "language": "collegium_verifier_format.language:LanguageVerifier",
        "repetition": "collegium_verifier_format.repetition:RepetitionVerifier",
    }


def test_a_completion_that_was_cut_did_not_stop() -> None:
    assert form("x", "stop", must_stop=True).value == 1.0
    assert form("x", "length", must_stop=True) == Score(0.0, {"checks": {"stop": False}})


@pytest.mark.parametrize(
    "text",
    [
        "<think>a</think><answer>b</answer>",
        "\n<think>\na < b\n</think>\n\n<answer> b </answer> ",
        "<think>a <b>c</b></think><answer>b</answer>",
    ],
)
def test_tags_in_order_are_in_form(text: str) -> None:
    assert holds(text, tags=["think", "answer"])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "b",
        "<answer>b</answer><think>a</think>",
        "<think>a</think>",
        "<think>a</think><answer>b",
        "<think>a</think><answer> </answer>",
        "<think></think><answer>b</answer>",
        "so <think>a</think><answer>b</answer>",
        "<think>a</think> so <answer>b</answer>",
        "<think>a</think><answer>b</answer> bye",
        "<think>a</think><answer>b</answer><answer>c</answer>",
        "<think>a<answer>b</answer></think>",
        "<think>a</think></think><answer>b</answer>",
        "</think>a<think><answer>b</answer>",
        "<think>a</think><answer>\u200b\ufeff</answer>",
        "<think>\x00</think><answer>b</answer>",
    ],
)
def test_anything_else_is_out_of_form(text: str) -> None:
    assert not holds(text, tags=["think", "answer"])


def test_the_fraction_says_how_far_a_completion_came() -> None:
    verdict = form("<think>a</think> so b", "length", tags=["think", "answer"], must_stop=True, score="fraction")
    checks = {"stop": False, "tag think": True, "tag answer": False, "layout": False}
    assert verdict == Score(0.25, {"checks": checks})


def test_a_pattern_matches_the_whole_completion() -> None:
    assert holds("12;34", pattern=r"\d+;\d+")
    assert not holds("12;34 ", pattern=r"\d+;\d+")
    assert not holds("a\nb", pattern="a.b")
    assert holds("a\nb", pattern="(?s)a.b")


def test_a_pattern_that_backtracks_without_end_is_an_error_that_names_it() -> None:
    verdict = form("a" * 100_000 + "!", pattern=r"(a|a)*b|(a+)+c")
    assert isinstance(verdict, Error)
    assert "(a+)+c" in verdict.reason


@pytest.mark.parametrize(
    ("text", "valid"),
    [('{"a": 1}', True), (" [1] ", True), ("{'a': 1}", False), ("NaN", False), ("", False), ("[" * 50_000, False)],
)
def test_json_is_parsed_strictly(text: str, valid: bool) -> None:
    assert holds(text, is_json=True) is valid


def test_a_number_of_endless_digits_is_no_json() -> None:
    assert not holds("9" * 100_000, is_json=True)


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("<think>a</think>b", True),
        ("<think>a</think>\nb", True),
        ("<think>a</think>", False),
        ("<think>a</think> \u200b", False),
        ("a</think>b", False),
        ("<think></think>b", False),
        ("<think>a</think>b</think>", False),
        ("<think>a</think><think>b</think>c", False),
        ("so <think>a</think>b", False),
    ],
)
def test_an_answer_may_have_to_follow_the_last_tag(text: str, held: bool) -> None:
    assert holds(text, tags=["think"], answer_follows=True) == held


@pytest.mark.parametrize("options", [{"must_stop": True}, {"tags": ["think"], "is_json": True}])
def test_an_answer_can_follow_only_tags_and_no_json(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="answer_follows"):
        FormatVerifier({**options, "answer_follows": True})


def test_json_is_read_from_the_last_tag() -> None:
    assert holds('<think>{</think><answer>{"a": 1}</answer>', tags=["think", "answer"], is_json=True)
    assert not holds("<think>1</think><answer>{</answer>", tags=["think", "answer"], is_json=True)


@pytest.mark.parametrize(("text", "valid"), [('{"a": 1}', True), ('{"a": "1"}', False), ("{}", False), ("{", False)])
def test_a_schema_implies_json_and_judges_it(text: str, valid: bool) -> None:
    verdict = form(text, json_schema=SCHEMA)
    assert verdict == Score(float(valid), {"checks": {"json": text != "{", "schema": valid}})


def test_json_too_long_for_its_schema_is_not_valid() -> None:
    text = json.dumps({"a": 1, "b": "x" * 30_000})
    assert form(text, json_schema={"type": "object"}).details["checks"] == {"json": True, "schema": False}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "checks nothing"),
        ({"tags": ["think", "think"]}, "must differ"),
        ({"tags": ["<b>"]}, "pattern"),
        ({"pattern": "("}, "not a regular expression"),
        ({"patern": "a"}, "patern"),
        ({"json_schema": {"properties": {"a": {"pattern": "(a+)+"}}}}, "no pattern"),
        ({"json_schema": {"patternProperties": {}}}, "no pattern"),
        ({"json_schema": {"$ref": "https://example.org/schema"}}, "outside reference"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FormatVerifier(options)


def test_a_property_may_be_named_pattern() -> None:
    assert holds('{"pattern": 1}', json_schema={"properties": {"pattern": {"type": "integer"}}})


def test_a_schema_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="not a valid schema"):
        FormatVerifier({"json_schema": {"type": "integr"}})


def test_a_schema_without_its_package_is_refused_with_the_line_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    with pytest.raises(ConfigError, match=r"pip install 'collegium-verifier-format\[schema\]'"):
        FormatVerifier({"json_schema": SCHEMA})


@pytest.mark.parametrize(
    ("count", "value"), [(0, 0.0), (1, 0.0), (2, 0.5), (3, 1.0), (5, 1.0), (6, 0.5), (7, 0.0), (99, 0.0)]
)
def test_length_falls_linearly_over_its_margin(count: int, value: float) -> None:
    assert length("a " * count, unit="words", min=3, max=5, margin=2) == Score(value, {"words": count})


def test_without_a_margin_length_is_right_or_wrong() -> None:
    assert [length("a" * n, unit="characters", min=2, max=3).value for n in range(1, 5)] == [0.0, 1.0, 1.0, 0.0]


def test_one_bound_is_enough() -> None:
    assert length("a" * 9, unit="characters", min=2).value == 1.0
    assert length("", unit="characters", max=2).value == 1.0


def test_tokens_are_those_sampled() -> None:
    assert length("ab", (5, 6, 0), unit="tokens", max=2).value == 0.0
    assert isinstance(length("ab", unit="tokens", max=2), Error)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unit": "words"}, "needs a bound"),
        ({"unit": "words", "min": 3, "max": 2}, "min <= max"),
        ({"unit": "lines", "min": 3}, "unit"),
        ({"min": 3}, "unit"),
        ({"unit": "words", "min": -1}, "min"),
    ],
)
def test_bounds_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        LengthVerifier(options)


EVERYTHING = FormatVerifier(
    {
        "must_stop": True,
        "tags": ["think", "answer"],
        "pattern": r"(?s).*\S.*",
        "json_schema": SCHEMA,
        "score": "fraction",
    }
)


@given(st.text() | st.text(alphabet='<>/thinkanswer{}[]"a:1 ,\n', max_size=200), st.sampled_from(["stop", "length"]))
def test_any_text_gives_a_score(text: str, finish_reason: Any) -> None:
    verdict = EVERYTHING.verify(Completion(text, finish_reason), TASK)
    assert isinstance(verdict, Score)
    assert 0.0 <= verdict.value <= 1.0


@given(st.text(), st.text())
def test_tags_around_any_text_are_in_form(thought: str, answer: str) -> None:
    safe = all(has_text(part) and "<" not in part for part in (thought, answer))
    text = f"<think>{thought}</think>{answer and '<answer>'}{answer}</answer>"
    assert holds(text, tags=["think", "answer"]) or not safe


@given(st.text(), st.integers(0, 50), st.integers(0, 50), st.integers(0, 10))
def test_any_length_gives_a_score(text: str, low: int, extra: int, margin: int) -> None:
    verdict = length(text, unit="characters", min=low, max=low + extra, margin=margin)
    assert isinstance(verdict, Score)
    assert (verdict.value == 1.0) == (low <= len(text) <= low + extra)


@pytest.mark.parametrize("unit", ["<think>", "</think>", "<think></think>", "<", "[", '{"a":', " ", "\ud800"])
def test_hostile_repetition_is_out_of_form(unit: str) -> None:
    assert not holds(unit * (200_000 // len(unit)), tags=["think"], is_json=True)
    assert not holds(unit * 1_000_000, tags=["think"])
