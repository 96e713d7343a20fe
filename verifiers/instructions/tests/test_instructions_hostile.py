"""Any text gives a verdict within its time, for every constraint there is."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collegium import Completion, Sample, Score, Task
from collegium.job import ErrorPolicy
from collegium.judge import Judge
from collegium_verifier_instructions.registry import known_ids
from collegium_verifier_instructions.verifier import LONGEST_TEXT, InstructionsVerifier

ARGUMENTS = {
    "change_case:capital_word_frequency": {"capital_relation": "at least", "capital_frequency": 2},
    "combination:repeat_prompt": {"prompt_to_repeat": "Say it again."},
    "detectable_content:number_placeholders": {"num_placeholders": 2},
    "detectable_content:postscript": {"postscript_marker": "P.S."},
    "detectable_format:multiple_sections": {"section_spliter": "Section", "num_sections": 2},
    "detectable_format:number_bullet_lists": {"num_bullets": 2},
    "detectable_format:number_highlighted_sections": {"num_highlights": 2},
    "keywords:existence": {"keywords": ["sea"]},
    "keywords:forbidden_words": {"forbidden_words": ["sea"]},
    "keywords:frequency": {"keyword": "sea", "frequency": 2, "relation": "at least"},
    "keywords:letter_frequency": {"letter": "e", "let_frequency": 2, "let_relation": "less than"},
    "language:response_language": {"language": "en"},
    "length_constraints:nth_paragraph_first_word": {"num_paragraphs": 2, "nth_paragraph": 1, "first_word": "sea"},
    "length_constraints:number_paragraphs": {"num_paragraphs": 2},
    "length_constraints:number_sentences": {"num_sentences": 2, "relation": "at least"},
    "length_constraints:number_words": {"num_words": 2, "relation": "at least"},
    "startend:end_checker": {"end_phrase": "The end."},
    "extra:word_count_range": {"min_words": 1, "max_words": 9},
    "extra:unique_words": {"at_least": 2},
    "extra:max_word_repeats": {"most": 2},
    "extra:palindromes": {"at_least": 1, "length": 2},
    "extra:keyword_position": {"keyword": "sea", "sentence": 1, "word": 2},
    "extra:keyword_in_sentence": {"keyword": "sea", "sentence": 1},
    "extra:sentence_length": {"max_words": 9},
    "extra:numbers": {"exactly": 1},
    "extra:stop_word_share": {"most_percent": 50},
    "extra:punctuation_variety": {"marks": ["!"]},
    "extra:line_indent": {"step": 2},
    "extra:nested_brackets": {"depth": 2},
    "extra:csv": {"columns": 2, "rows": 2},
    "extra:headings_in_order": {"headings": ["Why", "How"]},
    "extra:sub_bullets": {"at_least": 1},
    "extra:emojis": {"at_least": 1},
}
HOSTILE = (
    "*", "<<", " ", "\n", "\n- ", "* ", "[", "](", "{", '"', '""', ".", ". A", "? ", "***\n", "P.S.", "a.", "A", "aA ",
    "1.", "1,1", "-1", "...", "Mr. ", "\t", "\u0301", "\U0001f600", "<think>", "```", "#", "\x00", "(", ")", "n't", "'s",
)  # fmt: skip


@pytest.fixture(scope="module", params=["strict", "loose"])
def judge(request):
    verifier = InstructionsVerifier({"mode": request.param})
    return Judge(
        verifier,
        owner="collegium-verifier-instructions",
        name="instructions",
        policy=ErrorPolicy(budget=1.0),
        domain="t",
        cache_size=0,
    )


def every_instruction(number: int = 0) -> Task:
    ids = list(known_ids())
    return Task(
        f"t{number}", "?", data={"instruction_id_list": ids, "kwargs": [ARGUMENTS.get(each, {}) for each in ids]}
    )


def test_each_constraint_that_takes_arguments_is_given_some():
    assert len(known_ids()) >= 46
    assert set(ARGUMENTS) <= set(known_ids())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=400))
def test_any_text_gets_a_score_for_every_instruction(judge, text):
    (verdict,) = judge.judge([Sample(every_instruction(), Completion(text))])
    assert isinstance(verdict, Score), verdict
    assert len(verdict.details["instructions"]) == len(known_ids())


@pytest.mark.parametrize("unit", HOSTILE, ids=ascii)
def test_a_long_repetition_is_judged_within_the_time_limit(judge, unit):
    text = (unit * LONGEST_TEXT)[:LONGEST_TEXT]
    for name in known_ids():
        task = Task("t", "?", data={"instruction_id_list": [name], "kwargs": [ARGUMENTS.get(name, {})]})
        (verdict,) = judge.judge([Sample(task, Completion(text))])
        assert isinstance(verdict, Score), (name, verdict)


def test_what_answers_nothing_follows_nothing(real_data):
    """An empty response, white space and the prompt itself do not follow the published prompts' instructions."""
    rows = [
        json.loads(line)
        for line in gzip.decompress((real_data / "ifeval_responses_labelled.jsonl.gz").read_bytes()).splitlines()
    ]
    strict = InstructionsVerifier()
    tasks = [Task(str(row["key"]), row["prompt"], data=row) for row in rows]
    for text in ("", "   \n\n "):
        assert {strict.verify(Completion(text), task).value for task in tasks} == {0.0}
    echoed = [strict.verify(Completion(task.prompt_text), task).value for task in tasks]
    # A quarter of the prompts meet their own instructions ("no comma", "use this keyword"): form is all that is judged.
    assert 0.2 < sum(echoed) / len(echoed) < 0.3


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"instruction_id_list": ["punctuation:no_coma"], "kwargs": [{}]}, "unknown instruction"),
        ({"instruction_id_list": ["punctuation:no_comma"], "kwargs": []}, "one entry per instruction"),
        ({"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{"extra": 1}]}, "unexpected keyword"),
        ({"instruction_id_list": ["keywords:existence"], "kwargs": [{}]}, "missing a required argument"),
        (
            {
                "instruction_id_list": ["length_constraints:number_words"],
                "kwargs": [{"num_words": 3, "relation": "around"}],
            },
            "relation",
        ),
        ({"instruction_id_list": ["extra:csv"], "kwargs": [{"columns": "two"}]}, "missing a required argument"),
        ({}, "instruction_id_list"),
    ],
)
def test_a_broken_instruction_is_an_error_and_never_a_score(judge, data, words):
    (verdict,) = judge.judge([Sample(Task("t", "?", data=data), Completion("Some text."))])
    assert not isinstance(verdict, Score)
    assert words in verdict.reason


def test_a_repeated_instruction_is_checked_each_time_with_its_own_arguments():
    data = {
        "instruction_id_list": ["keywords:existence"] * 2,
        "kwargs": [{"keywords": ["sea"]}, {"keywords": ["land"]}],
    }
    verdict = InstructionsVerifier({"score": "fraction"}).verify(Completion("the land"), Task("t", "?", data=data))
    assert verdict.value == 0.5
    assert [each["followed"] for each in verdict.details["instructions"]] == [False, True]
