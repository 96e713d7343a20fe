"""Worked columns, against values worked out by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collegium_teacher_arithmetic.expression import Expression, answer_of, work


@pytest.mark.parametrize(
    ("expression", "right", "forgetful"),
    [
        (Expression(57, "+", 68), "781515 561112;125", "781515 561111;115"),
        (Expression(103, "-", 57), "371616 051514 100100;46", "371616 051515 100101;156"),
        (Expression(999, "+", 1), "911010 900910 900910;1000", "911010 900909 900909;990"),
        (Expression(8, "+", 9), "891717;17", "891717;17"),
        (Expression(40, "-", 40), "000000 440000;0", "000000 440000;0"),
        (Expression(7, "+", 315), "751212 010102 030303;322", "751212 010101 030303;312"),
    ],
    ids=str,
)
def test_columns_are_worked_from_the_right_with_and_without_the_carry(expression, right, forgetful):
    assert work(expression) == right
    assert work(expression, carrying=False) == forgetful
    assert expression.tells_apart == (right != forgetful)


@given(left=st.integers(0, 999), right=st.integers(0, 999), sign=st.sampled_from("+-"))
def test_carrying_always_gives_the_true_answer(left, right, sign):
    expression = Expression(max(left, right), sign, min(left, right))
    assert answer_of(work(expression)) == str(left + right if sign == "+" else abs(left - right))


def test_commuted_additions_share_a_key_and_subtractions_do_not():
    assert Expression(5, "+", 12).key == Expression(12, "+", 5).key
    assert Expression(12, "-", 5).key != Expression(5, "-", 12).key
