"""Repetition: n-grams that come back, and loops at the end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collegium import Completion, Score, Task
from collegium_verifier_format.layout import LONGEST_TEXT
from collegium_verifier_format.repetition import RepetitionVerifier, loop_at_end, repeated_share

PROSE = "The ducks lay sixteen eggs a day; three are eaten for breakfast and four go into muffins, so nine are sold. "


def judge(text: str, **options: object) -> Score:
    verdict = RepetitionVerifier(options).verify(Completion(text), Task("t", "?"))
    assert isinstance(verdict, Score)
    return verdict


@pytest.mark.parametrize(
    "text", [PROSE, "yes", PROSE + "Nine eggs at two dollars make eighteen dollars.", "a b c a b c"]
)
def test_prose_that_moves_on_passes(text):
    assert judge(text).value == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n ",
        PROSE * 2,
        PROSE + "I think " * 20,
        PROSE + "!" * 300,
        PROSE + "So 9. " * 15,
        "ab" * 50,
        PROSE + "wait, no. " * 8,
    ],
)
def test_repetition_and_no_text_score_zero(text):
    assert judge(text).value == 0.0


CHINESE = "\u6211\u4eec\u53ef\u4ee5\u77e5\u9053\u8fd9\u4e2a\u7b54\u6848\u662f\u6b63\u786e\u7684\u3002"


@pytest.mark.parametrize(
    "text",
    [
        CHINESE * 30 + "\u5b8c\u6bd5",
        "ha" * 1000 + " done.",
        "0" * 5000 + " ok",
        " ".join(f"Wait, let me check step {step} again." for step in range(300)),
        PROSE
        + " no " * 150
        + "".join(f"Then {n * n} comes after {n * 7 + 3}, as {chr(97 + n)} says. " for n in range(25)),
    ],
    ids=["chinese", "ha", "zeros", "counter", "interior"],
)
def test_a_loop_before_the_end_scores_zero(text):
    assert judge(text).value == 0.0


@pytest.mark.parametrize("text", [PROSE + "\n" + "-" * 70, PROSE + "It is 1" + "0" * 60, CHINESE, CHINESE + "\u5b8c"])
def test_a_rule_a_round_number_and_unspaced_text_pass(text):
    assert judge(text).value == 1.0


def test_the_compression_can_be_switched_off():
    text = " ".join(f"Wait, let me check step {step} again." for step in range(300))
    assert judge(text, min_compressed=0).value == 1.0


def test_the_loop_is_named():
    assert judge(PROSE + "So 9. " * 15).details["loop"].strip() in ("So 9.", "9. So")


def test_a_short_repetition_at_the_end_is_no_loop():
    assert loop_at_end("ha ha ha ha ha", 4, 60) is None
    assert loop_at_end("ha ha ha ha ha", 4, 10) is not None


def test_the_share_of_repeated_ngrams_is_counted():
    assert repeated_share(["a", "b", "a", "b", "a"], 2) == 0.5
    assert repeated_share(["a"], 2) == 0.0
    assert judge("a b a b a", ngram=2, score="share").value == 0.5


@given(st.text(min_size=1, max_size=12).filter(str.strip), st.integers(5, 60), st.text(max_size=40))
def test_a_piece_repeated_to_the_end_is_found(piece, times, before):
    text = before + piece * times
    found = loop_at_end(text, 4, 4)
    if any(map(str.isalpha, piece)) or len(piece) * times >= 16:
        assert found is not None
        assert text.endswith(found * 4)


@given(st.text(max_size=300))
def test_any_text_gets_a_score_and_a_loop_is_really_there(text):
    judge(text)
    found = loop_at_end(text, 3, 5)
    if found is not None:
        assert text.endswith(found * 3)


@pytest.mark.parametrize("unit", ["a", "ab", "a b ", "\n", "aab", "\U0001f600"])
def test_a_text_of_the_largest_size_is_judged(unit):
    assert judge((unit * LONGEST_TEXT)[:LONGEST_TEXT]).value == 0.0
