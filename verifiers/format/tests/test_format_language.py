"""Language: letters by script, and what is no text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from collegium import Abstain, Completion, Score, Task
from collegium_verifier_format.language import LanguageVerifier


def judge(text: str, **options: object) -> object:
    return LanguageVerifier({"scripts": ["Latin"], **options}).verify(Completion(text), Task("t", "?"))


@pytest.mark.parametrize("text", ["Plain English.", "Ünïcödé façade", "x = 3 + \u03c0 and so on and on and on it goes"])
def test_text_of_the_script_passes(text):
    assert judge(text).value == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  \n",
        "\u042d\u0442\u043e \u0442\u0435\u043a\u0441\u0442",
        "So \u6211\u4eec\u77e5\u9053 it is",
        "\u0430\u0440\u0440le",
    ],
)
def test_other_scripts_and_no_text_score_zero(text):
    assert judge(text).value == 0.0


def test_text_without_letters_is_not_judged():
    assert judge("3 + 4 = 7") == Abstain("the text has no letters")


@pytest.mark.parametrize("text", ["\u03b1=3, \u03c3\u00b2", "a \u03b1, \u0394x and \u05d0"])
def test_single_greek_and_hebrew_letters_are_symbols(text):
    assert judge(text + " so").value == 1.0
    assert judge(text + " \u03bb\u03cc\u03b3\u03bf\u03c2").value == 0.0


def test_symbols_count_where_their_script_is_asked_for_and_single_letters_of_others_against_it():
    assert judge("\u03b1 = \u03b2", scripts=["Greek"]).value == 1.0
    assert judge("\u03b1 = \u03b2") == Abstain("the text has no letters")
    assert judge("so \u6211 \u4eec").value == 0.0


def test_the_share_can_be_the_score():
    assert judge("ab\u0436\u0436", score="share").value == 0.5


def test_several_scripts_make_one_language():
    text = "\u3053\u308c\u306f\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8"
    assert judge(text, scripts=["Han", "Hiragana", "Katakana"]).value == 1.0
    assert judge(text, scripts=["Hiragana"]).value == 0.0


def test_only_the_tag_is_looked_at_and_it_stands_once():
    text = "<think>English only</think>\u042d\u0442\u043e"
    assert judge(text, tag="think").value == 1.0
    assert judge("<think>a</think><think>b</think>", tag="think").value == 0.0
    assert judge("English", tag="think").value == 0.0


@pytest.mark.parametrize("scripts", [[], ["Klingon"], ["Latin}\\p{L"], [""]])
def test_what_is_no_script_is_refused(scripts):
    with pytest.raises(ValidationError, match="scripts"):
        LanguageVerifier({"scripts": scripts})


@given(st.text(max_size=300), st.sampled_from(["all", "share"]))
def test_any_text_gets_a_verdict(text, score):
    assert isinstance(judge(text, score=score), Score | Abstain)
