"""A claim is decided by paired differences over seeds, at one-sided 95%."""

from __future__ import annotations

import math

import pytest

from tests.claims.decide import STUDENT, compare, equal_budgets


def test_the_difference_and_its_standard_error_are_of_pairs():
    found = compare([0.5, 0.7, 0.9], [0.4, 0.5, 0.6], least=0.02)
    assert found.differences == (pytest.approx(0.1), pytest.approx(0.2), pytest.approx(0.3))
    assert found.mean == pytest.approx(0.2)
    assert found.standard_error == pytest.approx(0.1 / math.sqrt(3))
    assert STUDENT[2] * found.standard_error < 0.2
    assert found.verdict == "holds"


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ((0.1, 0.2, 0.4), "undecided"),  # 0.233 - 2.92 * 0.088 < 0
        ((0.001, 0.002, 0.003), "holds"),  # small, and 0.002 - 2.92 * 0.00058 > 0
        ((-0.1, -0.2, -0.3), "does not hold"),
        ((0.0, 0.0, 0.0), "does not hold"),
        ((0.005, -0.005, 0.0), "does not hold"),  # no difference as large as 0.02
        ((0.3, -0.3, 0.0), "undecided"),
        ((0.5,), "undecided"),  # one seed says nothing
    ],
)
def test_verdicts(differences, verdict):
    assert compare(differences, [0.0] * len(differences), least=0.02).verdict == verdict


def test_budgets_are_equal_within_a_tenth():
    assert equal_budgets([100, 91])
    assert not equal_budgets([100, 89])
    assert equal_budgets([0, 0])
