"""Whether a claim holds: paired differences over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["holds", "does not hold", "undecided"]

STUDENT = {1: 6.314, 2: 2.920, 3: 2.353, 4: 2.132, 5: 2.015, 6: 1.943, 7: 1.895, 8: 1.860, 9: 1.833}
"""Student's t of one-sided 95%, by degrees of freedom."""
EQUAL_BUDGET = 0.1
"""Budgets that differ by at most this share of the larger one count as equal."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The first variant against another, over the same seeds.

    Args:
        differences: First less other, by seed.
        verdict: What follows.
    """

    differences: tuple[float, ...]
    verdict: Verdict

    @property
    def mean(self) -> float:
        """Mean difference."""
        return statistics.fmean(self.differences)

    @property
    def standard_error(self) -> float:
        """Standard error of the mean difference; of a single seed there is none."""
        return standard_error(self.differences)


def standard_error(values: Sequence[float]) -> float:
    """Return the standard error of a mean; infinite for a single value."""
    return statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.inf


def compare(first: Sequence[float], other: Sequence[float], least: float) -> Comparison:
    """Compare two variants, seed by seed.

    It holds where the one-sided 95% bound of the mean difference lies above 0, and does not where the bound on the
    other side rules out a difference of `least`. All else is undecided.
    """
    differences = tuple(a - b for a, b in zip(first, other, strict=True))
    mean, error = statistics.fmean(differences), standard_error(differences)
    reach = STUDENT[min(len(differences) - 1, max(STUDENT))] * error if len(differences) > 1 else math.inf
    if mean - reach > 0:
        return Comparison(differences, "holds")
    return Comparison(differences, "does not hold" if mean + reach < least else "undecided")


def equal_budgets(budgets: Sequence[float]) -> bool:
    """Say whether budgets are equal, as far as it matters."""
    return max(budgets) - min(budgets) <= EQUAL_BUDGET * max(budgets)
