"""The verifier `function-call`: formats, matching, hostile completions."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collegium import Completion, Error, Score, Task
from collegium_verifier_tools.matching import assign
from collegium_verifier_tools.verifier import FunctionCallVerifier

FUNCTIONS = [
    {"name": "geo.area", "parameters": {"type": "dict", "required": ["base"], "properties": {
        "base": {"type": "integer"}, "scale": {"type": "float"}, "unit": {"type": "string"}}}},
    {"name": "other", "parameters": {"type": "dict", "required": [], "properties": {}}},
]  # fmt: skip
GOLD = [{"geo.area": {"base": [10], "scale": [2.0, ""], "unit": ["sq. cm", ""]}}]


def judge(text: str, gold: list[Any] = GOLD, **options: Any) -> float:
    verdict = FunctionCallVerifier(options).verify(
        Completion(text), Task("t", "", data={"functions": FUNCTIONS, "ground_truth": gold})
    )
    assert isinstance(verdict, Score), verdict
    return verdict.value


CALL = {"name": "geo.area", "arguments": {"base": 10}}
RIGHT = [
    "[geo.area(base=10)]",
    "geo.area(base=10, scale=2, unit='SQ CM')",
    json.dumps([CALL]),
    f"<tool_call>{json.dumps(CALL)}</tool_call>",
    json.dumps({"tool_calls": [{"function": {"name": "geo.area", "arguments": '{"base": 10}'}}]}),
]
WRONG = [
    "", "[]", json.dumps(FUNCTIONS), "[geo.area(base=10), other()]", "[geo.area(base=10), geo.area(base=10)]",
    "[geo.area(base=True)]", "[geo.area(base=10.0)]", "[geo.area(base='10')]", "[geo.area(10)]", "[geo.area(**{'base': 10})]",
    "[geo.area(base=5+5)]", "[geo.area(base=10, unit=['sq cm', 'm'])]", "geo.area(base=10) if 1 else other()",
    '{"name": "geo.area", "arguments": {"base": 1, "base": 10}}', '{"name": "geo.area", "arguments": {"base": NaN}}',
    "[geo.area(base=" + "9" * 5000 + ")]", "[geo.area(base=0x" + "f" * 9000 + ")]", "[" * 50_000, '{"a":' * 15_000,
    "geo.area(base=" + "-" * 50_000 + "1)", "[" + "1," * 5_000_000 + "]", "<tool_call>" * 9000, "\ud800", "geo.area(base=1e999)",
]  # fmt: skip


@pytest.mark.parametrize("text", RIGHT)
def test_a_right_call_scores_one_in_each_format(text: str) -> None:
    assert judge(text) == 1.0


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_a_wrong_or_hostile_completion_scores_zero(text: str) -> None:
    assert judge(text) == 0.0


def test_text_beside_the_calls_counts_only_when_lenient() -> None:
    text = "<think>[other()]</think>\n```python\n[geo.area(base=10)]\n```"
    assert (judge(text), judge(text, strict=False)) == (0.0, 1.0)


@pytest.mark.parametrize(("text", "value"), [("I cannot do that.", 1), ("", 0), ("[other()]", 0), ("Sure: other()", 0)])
def test_where_no_call_is_expected_prose_passes_and_a_call_does_not(text: str, value: int) -> None:
    assert judge(text, []) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('I cannot use "geo.area" for that.', 1),
        ("the other (see above) and another(one)", 1),
        ("Sure: geo.area (base=10)", 0),
        ("Sure: other ()", 0),
        ("Here: {'name': 'geo.area', 'arguments': {'base': 10}}", 0),
        ('Here: {"name" : "other", "arguments": {}}', 0),
    ],
)
def test_quoting_a_name_is_no_call_and_a_call_in_prose_is_one(text: str, value: int) -> None:
    assert judge(text, []) == value


def test_a_closed_thought_may_hold_a_call_where_none_is_expected_and_thinking_is_allowed() -> None:
    text = "<think>geo.area(base=1)?</think>I cannot do that."
    assert (judge(text, [], strict=False), judge(text, [])) == (1.0, 0.0)
    assert judge("<think>None of these fits", [], strict=False) == 0.0
    assert judge("other()<think>no</think>None of these fits", [], strict=False) == 0.0
    assert judge("<think>geo.area(base=10)", strict=False) == 0.0


def test_the_mark_for_left_out_is_a_value_only_where_text_is_expected() -> None:
    gold = [{"geo.area": {"base": [10], "scale": ["", 5.0], "unit": ["", "m"]}}]
    assert judge("geo.area(base=10, scale='')", gold) == 0.0
    assert judge("geo.area(base=10, scale=5)", gold) == judge("geo.area(base=10, unit='')", gold) == 1.0


@pytest.mark.filterwarnings("error")
def test_an_odd_escape_in_a_text_changes_no_verdict() -> None:
    assert judge(r"geo.area(base=10, unit='a\d')", [{"geo.area": {"base": [10], "unit": [r"a\d"]}}]) == 1.0


def test_calls_in_parallel_match_in_any_order_and_one_to_one() -> None:
    gold = [{"geo.area": {"base": [1, 2]}}, {"geo.area": {"base": [1]}}]
    assert judge("[geo.area(base=1), geo.area(base=2)]", gold) == 1.0
    assert judge("[geo.area(base=2), geo.area(base=2)]", gold) == 0.0
    assert assign([[True, True], [True, False]]) == 2


@pytest.mark.parametrize(
    "gold", [[{"nope": {}}], [{"geo.area": {}}], [{"geo.area": {"base": ["x"]}}], [3], [{"geo.area": 3}]]
)
def test_a_ground_truth_that_does_not_fit_its_functions_is_an_error(gold: list[Any]) -> None:
    task = Task("t", "", data={"functions": FUNCTIONS, "ground_truth": gold})
    assert isinstance(FunctionCallVerifier().verify(Completion(RIGHT[0]), task), Error)


@given(st.text(st.characters(exclude_categories=[])), st.sampled_from(["auto", "python", "json", "hermes", "openai"]))
def test_any_text_gets_a_verdict(text: str, form: str) -> None:
    assert judge(text, format=form) in (0.0, 1.0)


def test_the_format_is_found_by_structure_and_not_by_words_in_a_value() -> None:
    functions = [{"name": "say", "parameters": {"properties": {"text": {"type": "string"}}, "required": ["text"]}}]
    for words in ('"function"', '"tool_calls"', "<tool_call>"):
        task = Task("t", "", data={"functions": functions, "ground_truth": [{"say": {"text": [words]}}]})
        text = json.dumps({"name": "say", "arguments": {"text": words}})
        assert FunctionCallVerifier().verify(Completion(text), task) == Score(1.0, {"calls": 1})
