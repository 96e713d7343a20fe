"""Units and times of day: compared where both texts say them, converted where that is exact, overlooked where one does not."""

from __future__ import annotations

from fractions import Fraction

import pytest

from collegium import Completion, Score, Task
from collegium_verifier_math.clock import clock_time, same_time
from collegium_verifier_math.units import quantity
from collegium_verifier_math.verifier import MathVerifier


@pytest.fixture(scope="module")
def verifier():
    made = MathVerifier()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("gold", "answer", "right"),
    [
        (r"15\mbox{ cm}^2", r"\boxed{15\text{ cm}^2}", True),
        (r"15\mbox{ cm}^2", r"\boxed{15\text{ cm}^5}", False),
        (r"15\mbox{ cm}^2", r"\boxed{15\text{ square centimeters}}", True),
        (r"15\mbox{ cm}^2", r"\boxed{1500\text{ mm}^2}", True),
        (r"15\mbox{ cm}^2", r"\boxed{150\text{ mm}^2}", False),
        (r"15\mbox{ cm}^2", r"\boxed{15}", True),  # the question says the unit
        ("15", r"\boxed{15\text{ cm}^2}", True),
        ("5 cm", "The answer is 50 mm.", True),
        ("5 cm", "The answer is 5 kg.", False),
        ("2 hours", "The answer is 120 minutes", True),
        (r"325\text{ cents}", r"\boxed{3.25\text{ dollars}}", True),
        (r"45\text{ mph}", r"\boxed{45\text{ km}}", False),
        (r"8\sqrt{3} \text { square inches}", r"\boxed{8\sqrt{3}\text{ in}^2}", True),
        (r"8\sqrt{3} \text { square inches}", r"\boxed{8\sqrt{2}\text{ in}^2}", False),
        (r"\frac{270}7\text{ degrees}", r"\boxed{\frac{270}{7}^\circ}", True),
        (r"12\text{ ways}", r"\boxed{12\text{ integers}}", True),  # neither is a unit
        ("3m", "3x", False),
        ("1 ft", "The answer is 12 inches", True),
        (r"\text{1:03 PM}", r"\boxed{1:03 \text{ PM}}", True),
        (r"\text{1:03 PM}", r"\boxed{1:03 \text{ AM}}", False),
        ("3:30 pm", r"\boxed{3:30}", True),
        ("3:30 pm", r"\boxed{3:31}", False),
    ],
)
def test_units_and_times_are_compared(verifier, gold, answer, right):
    verdict = verifier.verify(Completion(answer), Task("t", "?", gold))
    assert isinstance(verdict, Score)
    assert verdict.value == float(right), verdict.details


@pytest.mark.parametrize("text", ["3x", "x", "cm", r"\text{ cm}", "12 ways", "5 km per hour and more words here", "12"])
def test_a_text_without_a_known_unit_after_a_number_is_no_quantity(text):
    assert quantity(text) is None


def test_a_power_applies_to_the_size():
    found = quantity("3 square feet")
    assert found.measures == "length^2"
    assert found.size == Fraction(3048, 10_000) ** 2
    assert found.number == "3"


@pytest.mark.parametrize("text", ["25:00", "3:61", "3:5", "3:30:10", "3", "a 3:30", "9" * 100])
def test_what_is_no_time_of_day_is_none(text):
    assert clock_time(text) is None


def test_noon_counts_only_where_both_say_it():
    assert same_time((3, 30, "p"), (3, 30, ""))
    assert not same_time((3, 30, "p"), (3, 30, "a"))
