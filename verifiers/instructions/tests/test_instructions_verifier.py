"""The instructions verifier: each type of instruction, strict and loose, against cases and the published verdicts."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from collegium import Completion, Error, Score, Task, Verdict
from collegium_verifier_instructions import constraint, registry
from collegium_verifier_instructions.registry import known_ids
from collegium_verifier_instructions.text import count_sentences, tokens
from collegium_verifier_instructions.verifier import InstructionsVerifier, loose_versions


def judge(text: str, *instructions: tuple[str, dict[str, Any]], **options: Any) -> Verdict:
    data = {"instruction_id_list": [each for each, _ in instructions], "kwargs": [given for _, given in instructions]}
    return InstructionsVerifier(options).verify(Completion(text), Task("t1", "?", data=data))


def follows(text: str, instruction: str, **kwargs: Any) -> bool:
    verdict = judge(text, (instruction, kwargs))
    assert isinstance(verdict, Score), verdict
    return verdict.value == 1.0


def test_it_is_discovered_through_its_entry_point() -> None:
    (entry,) = entry_points(group="collegium", name="collegium-verifier-instructions")
    (offered,) = entry.load().register_verifiers()
    assert offered.name == "instructions"
    assert offered.target == "collegium_verifier_instructions.verifier:InstructionsVerifier"


def ifeval_ids() -> set[str]:
    return {each for each in known_ids() if not each.startswith("extra:")}


def test_all_types_of_ifeval_are_known() -> None:
    groups = {each.partition(":")[0] for each in ifeval_ids()}
    assert len(ifeval_ids()) == 25
    assert len(groups) == 9


CASES = [
    ("keywords:existence", {"keywords": ["sun", "a.b"]}, "Sunny a.b", "Sunny aXb"),
    ("keywords:forbidden_words", {"forbidden_words": ["cat"]}, "concatenate", "A Cat."),
    ("keywords:frequency", {"keyword": "go", "frequency": 2, "relation": "at least"}, "go Gone", "go"),
    ("keywords:frequency", {"keyword": "go", "frequency": 2, "relation": "less than"}, "go", "go Gone"),
    ("keywords:letter_frequency", {"letter": "t", "let_frequency": 2, "let_relation": "at least"}, "That", "hat"),
    ("length_constraints:number_words", {"num_words": 3, "relation": "at least"}, "well-known fact", "two words"),
    ("length_constraints:number_words", {"num_words": 3, "relation": "less than"}, "two words", "one two three"),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "at least"}, "One. Two", "Mr. One"),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "one *** two", "one\n\ntwo"),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "***\none\n***\ntwo", "one *** *** two"),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Yes"},
        'one\n\n"yes, two',
        "yes\n\nno",
    ),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "yes"},
        "one\n\nyes",
        "one\n\nyes\n\nthree",
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[a] [b c]", "[a] [b\nc]"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "x\np. s. y", "x\nPS y"),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "x\nP.P.S y", "x\nP.S. y"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n  - b", "* a\n* b\n* c"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 1}, "* a", "**bold**"),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a* **b**", "*a* b"),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 1}, "*a*", "* *"),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "Section", "num_sections": 2},
        "Section 1\nSection2",
        "Section 1",
    ),
    ("detectable_format:title", {}, "<<On time>>\ntext", "<< >>"),
    ("detectable_format:title", {}, "x <<a>> y", "<<a\nb>>"),
    ("detectable_format:json_format", {}, '```json\n{"a": 1}\n```', "{'a': 1}"),
    ("detectable_format:constrained_response", {}, "My answer is maybe.", "Maybe."),
    ("combination:two_responses", {}, "a ****** b", "a ****** a"),
    ("combination:two_responses", {}, "****** a ****** b", "a ****** ****** b"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say Hi."}, "say hi. Hi", "Hi. Say hi."),
    ("change_case:english_capital", {}, "THE SUN IS ABOVE THE TREES TODAY.", "The sun is above the trees."),
    ("change_case:english_lowercase", {}, "the sun is above the trees today.", "le soleil est au-dessus des arbres."),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "at least"},
        "NASA, OK",
        "NASA ok",
    ),
    (
        "language:response_language",
        {"language": "de"},
        "Der Hund läuft über die Straße nach Hause.",
        "The dog runs home.",
    ),
    ("punctuation:no_comma", {}, "a b", "a, b"),
    ("startend:end_checker", {"end_phrase": "The end."}, 'It is "the end."', "The end. Bye"),
    ("startend:quotation", {}, ' "quoted" ', '"half'),
    ("startend:quotation", {}, '""', '"'),
]


@pytest.mark.parametrize(("instruction", "kwargs", "right", "wrong"), CASES)
def test_each_instruction_tells_right_from_wrong(
    instruction: str, kwargs: dict[str, Any], right: str, wrong: str
) -> None:
    assert follows(right, instruction, **kwargs)
    assert not follows(wrong, instruction, **kwargs)


def test_every_type_has_a_case() -> None:
    assert {instruction for instruction, *_ in CASES} == ifeval_ids()


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("no stop", 1),
        ("One. Two! Three? Four", 4),
        ("Dr. Smith met J. Doe at 3.5 p.m. today.", 1),
        ("Well... maybe. Yes.", 2),
        ("Wait... What?", 2),
        ('"It ends." So it does.', 2),
        ("a.b.c is a path", 1),
    ],
)
def test_sentences_are_counted(text: str, count: int) -> None:
    assert count_sentences(text) == count


def test_tokens_part_punctuation_and_clitics_but_not_hyphens() -> None:
    assert tokens("NASA's well-known (U.S.) AT&T, don't go.") == (
        ["NASA", "'s", "well-known", "(", "U.S.", ")", "AT", "&", "T", ",", "do", "n't", "go", "."]
    )


def test_loose_versions_drop_first_line_last_line_and_asterisks() -> None:
    assert loose_versions("Sure:\n*a*\nBye") == (
        "Sure:\n*a*\nBye",
        "*a*\nBye",
        "Sure:\n*a*",
        "*a*",
        "Sure:\na\nBye",
        "a\nBye",
        "Sure:\na",
        "a",
    )


def test_loose_accepts_what_strict_does_not() -> None:
    instruction = ("detectable_format:json_format", {})
    text = "Here you are:\n{}\n"
    assert judge(text, instruction) == Score(0.0, {"instructions": [{"id": instruction[0], "followed": False}]})
    assert judge(text, instruction, mode="loose").value == 1.0


def test_an_empty_response_follows_nothing() -> None:
    assert not follows("", "punctuation:no_comma")
    assert not follows(" \n", "punctuation:no_comma")


def test_scores_are_all_or_the_fraction() -> None:
    instructions = [("punctuation:no_comma", {}), ("startend:quotation", {})]
    assert judge("plain", *instructions).value == 0.0
    assert judge("plain", *instructions, score="fraction").value == 0.5


def test_a_repeated_instruction_is_checked_each_time() -> None:
    bounds = [
        ("length_constraints:number_words", {"relation": "at least", "num_words": 2}),
        ("length_constraints:number_words", {"relation": "less than", "num_words": 4}),
    ]
    assert judge("one two three", *bounds).value == 1.0
    followed = [each["followed"] for each in judge("one two three four", *bounds).details["instructions"]]
    assert followed == [True, False]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({}, "instruction_id_list"),
        ({"instruction_id_list": [], "kwargs": []}, "at least one"),
        ({"instruction_id_list": "punctuation:no_comma", "kwargs": [{}]}, "instruction_id_list"),
        ({"instruction_id_list": ["punctuation:no_comma"]}, "one entry per instruction"),
        ({"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}, {}]}, "1 ids, found 2"),
        ({"instruction_id_list": ["punctuation:no_coma"], "kwargs": [{}]}, "unknown instruction 'punctuation:no_coma'"),
        ({"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{"n": 1}]}, "punctuation:no_comma: .*'n'"),
        ({"instruction_id_list": ["keywords:existence"], "kwargs": [{}]}, "keywords:existence: .*'keywords'"),
    ],
)
def test_a_malformed_task_is_an_error_that_names_it(data: dict[str, Any], reason: str) -> None:
    verdict = InstructionsVerifier().verify(Completion("text"), Task("t1", "?", data=data))
    assert isinstance(verdict, Error)
    assert verdict.reason.startswith("task 't1': ")
    assert re.search(reason, verdict.reason)


def test_null_arguments_count_as_not_given() -> None:
    assert follows("a b", "punctuation:no_comma", num_words=None, keyword=None)


def test_an_unknown_relation_is_not_guessed() -> None:
    with pytest.raises(ValueError, match="'more than'"):
        judge("a", ("length_constraints:number_words", {"relation": "more than", "num_words": 1}))


def test_a_missing_language_package_is_an_error_not_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langdetect", None)
    verdict = judge("Guten Tag", ("language:response_language", {"language": "de"}))
    assert isinstance(verdict, Error)
    assert "collegium-verifier-instructions[language]" in verdict.reason


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    source = (
        "from collegium_verifier_instructions import constraint\n"
        "@constraint('acme:ends_with_digit')\n"
        "def ends_with_digit(text: str) -> bool:\n"
        "    return text[-1:].isdigit()\n"
    )
    (tmp_path / "acme_constraints_for_test.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "acme_constraints_for_test"
    registry._CHECKS.pop("acme:ends_with_digit", None)
    sys.modules.pop("acme_constraints_for_test", None)


def test_others_add_constraints_by_a_module(own_module: str) -> None:
    instruction = ("acme:ends_with_digit", {})
    assert isinstance(judge("room 5", instruction), Error)
    assert judge("room 5", instruction, constraint_modules=[own_module]).value == 1.0


def test_an_id_belongs_to_one_function() -> None:
    with pytest.raises(ValueError, match=r"is taken by .*no_comma"):
        constraint("punctuation:no_comma")(lambda text: True)


def test_an_id_names_its_group() -> None:
    with pytest.raises(ValueError, match="group:name"):
        constraint("no_comma")


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(ValidationError, match="modus"):
        InstructionsVerifier({"modus": "loose"})


def all_instructions() -> tuple[tuple[str, dict[str, Any]], ...]:
    return tuple({instruction: kwargs for instruction, kwargs, *_ in CASES}.items())


@settings(deadline=None, max_examples=50)
@given(st.text(max_size=400), st.sampled_from(["strict", "loose"]))
def test_any_text_gives_a_score(text: str, mode: str) -> None:
    verdict = judge(text, *all_instructions(), mode=mode, score="fraction")
    assert isinstance(verdict, Score)
    assert 0.0 <= verdict.value <= 1.0


@settings(deadline=None)
@given(st.text(alphabet="*<>[]-.\n\" aA#'`{}:1,?!", max_size=200))
def test_loose_never_refuses_what_strict_accepts(text: str) -> None:
    strict = judge(text, *all_instructions()).details["instructions"]
    loose = judge(text, *all_instructions(), mode="loose").details["instructions"]
    assert all(b["followed"] >= a["followed"] for a, b in zip(strict, loose, strict=True))


HOSTILE = [
    "<",
    "[",
    "*",
    "* ",
    " ",
    "\n",
    "\n ",
    "... ",
    ". ",
    ".)",
    "Mr. ",
    "-",
    "***",
    "{",
    "[1,",
    "'s ",
    "p. ",
    '"',
    "\ud800",
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("unit", HOSTILE)
def test_hostile_repetition_does_not_hang(unit: str) -> None:
    text = unit * (100_000 // len(unit))
    assert isinstance(judge(text, *all_instructions()), Score)


def test_an_endless_text_follows_nothing() -> None:
    assert not follows("a" * 200_001, "punctuation:no_comma")
