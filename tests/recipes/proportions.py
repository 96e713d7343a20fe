"""Standard errors of held-out scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Share:
    """A mean of scores in [0, 1] over tasks.

    Args:
        value: The mean.
        tasks: How many scores it is of.
    """

    value: float
    tasks: int

    @property
    def variance(self) -> float:
        """Variance of the mean: exact for scores of 0 and 1, an upper bound for scores between."""
        return self.value * (1 - self.value) / self.tasks


@dataclass(frozen=True, slots=True)
class Change:
    """How a score changed, over one or several domains.

    Args:
        before: Mean over the domains.
        after: The same, later.
        standard_error: Of the difference.
    """

    before: float
    after: float
    standard_error: float

    @property
    def difference(self) -> float:
        """The later score less the earlier one."""
        return self.after - self.before

    def above(self, standard_errors: float) -> bool:
        """Say whether the later score lies more than so many standard errors above the earlier one."""
        return self.difference > standard_errors * self.standard_error

    @property
    def in_standard_errors(self) -> float:
        """The difference in standard errors; 0 for two scores of 0, or of 1, which have none."""
        return self.difference / self.standard_error if self.standard_error else 0.0


def change(pairs: Sequence[tuple[Share, Share]]) -> Change:
    """Return the change of the mean over domains; each counts alike.

    The two scores of a domain are taken for independent. They are of the same tasks, so that this is a standard error
    too large rather than too small.
    """
    count = len(pairs)
    variance = sum(before.variance + after.variance for before, after in pairs) / count**2
    before, after = (sum(each[side].value for each in pairs) / count for side in (0, 1))
    return Change(before, after, math.sqrt(variance))


def standard_errors_above(accuracy: float, chance: float, count: float) -> float:
    """Return how far an accuracy lies above chance, in standard errors of what chance alone would give."""
    return (accuracy - chance) / math.sqrt(chance * (1 - chance) / count)
