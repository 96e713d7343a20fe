"""Worked columns, against values worked out by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collegium_teacher_arithmetic.expression import Expression, answer_of, work


@pytest.mark.parametrize(
    ("expression", "right", "forgetful"),
    [
        (Expression(57, "+", 68), "78015 56112;125", "78015 56011;115"),
        (Expression(103, "-", 57), "37016 05114 10100;46", "37016 05015 10001;156"),
        (Expression(999, "+", 1), "91010 90110 90110;1000", "91010 90009 90009;990"),
        (Expression(8, "+", 9), "89017;17", "89017;17"),
        (Expression(40, "-", 40), "00000 44000;0", "00000 44000;0"),
        (Expression(7, "+", 315), "75012 01102 03003;322", "75012 01001 03003;312"),
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
