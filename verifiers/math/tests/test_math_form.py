"""Answers by form: an operation that is not carried out, one plain number and nothing after it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from collegium import Completion, Score, Task, Verdict
from collegium_verifier_math.verifier import MathVerifier


@pytest.fixture(scope="module")
def lenient() -> Iterator[MathVerifier]:
    verifier = MathVerifier()
    yield verifier
    verifier.close()


def judge(verifier: MathVerifier, text: str, reference: str) -> Verdict:
    return verifier.verify(Completion(text), Task("t1", "?", reference=reference))


def value(verifier: MathVerifier, text: str, reference: str) -> float:
    verdict = judge(verifier, text, reference)
    assert isinstance(verdict, Score), verdict
    return verdict.value


ECHOES = ["158+5", "158+5=164", "158 + 5", "$158+5$.", "(158)+5", "158 \\cdot 1 + 5", "326/2", "13^2-6", "+158+5"]


@pytest.mark.parametrize("answer", ["any", "number"])
@pytest.mark.parametrize("echo", ECHOES)
def test_an_operation_that_is_not_carried_out_is_no_answer(answer: str, echo: str) -> None:
    after, marked = MathVerifier({"answer": answer, "answer_after": ";"}), MathVerifier({"answer": answer})
    for verdict in (
        judge(after, f"158+5;{echo}", "163"),
        judge(marked, f"\\boxed{{{echo}}}", "163"),
        judge(marked, f"158+5\n#### {echo}", "#### 163"),
    ):
        assert isinstance(verdict, Score)
        assert verdict.value == 0.0
        assert verdict.details["why"]
    assert value(after, "158+5;163", "163") == value(marked, "\\boxed{163}", "163") == 1.0


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("\\boxed{1.5 \\times 10^3}", "1500"),
        ("\\boxed{1/2}", "0.5"),
        ("158 + 5 = 163", "163"),
        ("\\boxed{158 + 5}", "5 + 158"),
        ("\\boxed{2^{10}}", "2^{10}"),
    ],
)
def test_any_still_takes_other_ways_to_write_the_number_and_references_that_are_operations(
    lenient: MathVerifier, text: str, reference: str
) -> None:
    assert value(lenient, text, reference) == 1.0


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("7+5;163", 1.0),
        (";163", 1.0),
        ("; 163.0 \n", 1.0),
        (";+163", 1.0),
        (";$163$", 1.0),
        (";-163", 0.0),
        (";163 junk", 0.0),
        (";163\njunk", 0.0),
        (";163\n158+5", 0.0),
        (";163\n\n.", 0.0),
        (";163. Junk", 0.0),
        (";163 163", 0.0),
        (";x=163", 0.0),
        (";163%", 0.0),
        (";16,3", 0.0),
        (";1.63 \\times 10^2", 0.0),
        (";163/1", 0.0),
        (";163/0", 0.0),
        (";", 0.0),
        ("163", 0.0),
    ],
)
def test_number_takes_one_plain_number_and_nothing_after_it(text: str, score: float) -> None:
    verifier = MathVerifier({"answer": "number", "answer_after": ";"})
    verdict = judge(verifier, text, "163")
    assert isinstance(verdict, Score)
    assert verdict.value == score
    assert verifier._pool.started == 0


@pytest.mark.parametrize(
    ("text", "reference", "score"),
    [
        ("So it is $\\boxed{1,630}$.\n", "1630", 1.0),
        ("\\boxed{163} or so", "163", 0.0),
        ("\\boxed{163} and \\boxed{163}", "163", 0.0),
        ("#### 163\nor 158+5", "163", 0.0),
        ("The answer is\n\\[ 163 \\]", "163", 1.0),
        (" 163 ", "163", 1.0),
        ("158+5", "163", 0.0),
        ("158+5=163", "163", 0.0),
        ("It is 163", "163", 0.0),
        ("\\boxed{-2/3}", "-\\frac{2}{3}", 1.0),
        ("\\boxed{4/6}", "\\frac{2}{3}", 0.0),
        ("\\boxed{1/2}", "0.5", 1.0),
    ],
)
def test_number_holds_for_marked_and_unmarked_answers(text: str, reference: str, score: float) -> None:
    verifier = MathVerifier({"answer": "number", "workers": 1})
    try:
        assert value(verifier, text, reference) == score
    finally:
        verifier.close()


def test_any_takes_no_bare_echo_without_a_mark(lenient: MathVerifier) -> None:
    assert value(lenient, "158+5", "163") == 0.0
