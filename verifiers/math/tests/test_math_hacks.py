"""What earns nothing though the right value is in it: work left to do, offers, chains, echoes, lists."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collegium import Completion, Error, Score, Task
from collegium_verifier_math.verifier import MathVerifier


@pytest.fixture(scope="module", params=["lenient", "strict"])
def verifier(request):
    made = MathVerifier({"mode": request.param})
    yield made
    made.close()


def value(verifier: MathVerifier, text: str, gold: str) -> float:
    verdict = verifier.verify(Completion(text), Task("t", "What is it?", gold))
    assert isinstance(verdict, Score), verdict
    return verdict.value


@pytest.mark.parametrize(
    ("text", "gold"),
    [
        (r"\boxed{\sqrt{144}+1}", "13"),
        (r"\boxed{5!}", "120"),
        (r"\boxed{\binom{5}{2}}", "10"),
        (r"\boxed{\sum_{k=1}^{3} k}", "6"),
        (r"\boxed{\int_0^1 2x dx}", "1"),
        (r"\boxed{\min(7,8)}", "7"),
        (r"\boxed{\frac{3-1}{2}}", "1"),
        (r"\boxed{3 \cdot 4}", "12"),
        (r"\boxed{{(2^3)}^{\frac{4}{3}}}", "16"),
        (r"\boxed{\sqrt{8^2}}", "8"),
        (r"\boxed{2(2)}", "4"),
        (r"\boxed{\lceil 2.7\rceil}", "3"),
        (r"\boxed{|-2|}", "2"),
        (r"\boxed{\frac{d}{dx} 5x}", "5"),
        (r"\boxed{x - x}", "0"),
        (r"\boxed{5x}", "5"),
        (r"\boxed{\ne 12}", "12"),
        (r"\boxed{\ge 12}", "12"),
        (r"\boxed{12\\13}", "12"),
        (r"\boxed{5 \text{ cents}}", r"\$5"),
        (r"\boxed{15\text{ km/h}}", r"15\text{ mph}"),
        (r"\boxed{30 \text{ rad}}", r"30^\circ"),
        (r"\boxed{BA}", "AB"),
        (r"\boxed{1 min}", "60s"),
        ("What is $5^3 - (3^2-5)^3$?", "61"),
        (r"Compute $\dbinom{30}{27}$.", "4060"),
        (r"\boxed{1=2}", "2"),
        (r"\boxed{x=1=2}", "2"),
        ("The answer is 2 (or maybe 1)", "1"),
        ("The answer is 2 (or maybe 1)", "2"),
        ("It is 1 or 2", "2"),
        ("It is 1, or 2.", "2"),
        (r"The answer is either 7 or 8", "7"),
        (r"\boxed{\text{7 or 8}}", "7"),
        (r"\boxed{5}\boxed{7}", "7"),
        (r"\boxed{7} no, \boxed{5}", "7"),
        (r"\boxed{5, 7}", "7"),
        (r"\boxed{}", "7"),
        ("<think>\\boxed{7}", "7"),
        (" ".join(map(str, range(101))), "42"),
        ("What is 3+4?", "7"),
        ("\u200b", "7"),
    ],
)
def test_it_scores_zero(verifier, text, gold):
    assert value(verifier, text, gold) == 0.0


@pytest.mark.parametrize(
    ("text", "gold"),
    [
        (r"\boxed{x=2}", "2"),
        (r"\boxed{-\frac{1}{2}}", "-0.5"),
        (r"\boxed{1.5 \times 10^3}", "1500"),
        (r"\boxed{1.5e3}", "1500"),
        (r"\boxed{\sqrt{144}}", "12"),
        (r"\boxed{x=1 \text{ or } x=2}", "1, 2"),
        (r"\boxed{\text{odd}}", r"\text{odd}"),
        (r"\boxed{(x+1)^2}", "x^2+2x+1"),
        (r"\boxed{50\%}", "50"),
        ("The answer is 3 * 4 = 12.", "12"),
        ("The answer is 12 (since 3 * 4 = 12).", "12"),
        ("Answer: 12 (10 + 2)", "12"),
        (r"\boxed{2\cdot3=6}", "6"),
        (r"\boxed{10^{-3}}", "0.001"),
        ("The answer is 5, not 6 or 7.", "5"),
        ("The answer is 5 either way.", "5"),
        ("The answer is therefore 5 apples or so.", "5"),
        (r"\boxed{500 \text{ cents}}", r"\$5"),
        (r"\boxed{30}", r"30^\circ"),
        (r"\boxed{32,\! 349}", "32349"),
        (r"\boxed{\$15,\!000}", "15000"),
        (r"\boxed{x \approx 11}", "11"),
        (r"\boxed{12\text{ square units}}", "12"),
        (r"\boxed{12\text{ inches}}", "12"),
    ],
)
def test_other_ways_to_write_one_answer_still_score_one(verifier, text, gold):
    assert value(verifier, text, gold) == 1.0


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=60), st.text(max_size=60))
def test_any_answer_to_any_reference_gets_a_verdict(verifier, text, gold):
    verdict = verifier.verify(Completion(f"\\boxed{{{text}}}"), Task("t", "?", gold))
    assert isinstance(verdict, Score | Error)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.fractions(max_denominator=50), st.fractions(max_denominator=50))
def test_equality_of_numbers_is_symmetric_and_true_to_their_values(verifier, one, other):
    forward = value(verifier, f"\\boxed{{{one}}}", str(other))
    assert forward == value(verifier, f"\\boxed{{{other}}}", str(one)) == float(one == other)
