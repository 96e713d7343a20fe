"""The reward source `toggle-length`: Kimi K2.5's Toggle (arXiv 2602.02276, section 4.4.2).

In even phases of ``m`` steps a reward ``r`` becomes ``r 1[mean r < lambda or length <= budget]``, in odd ones it stays.
The report says that the budget, a percentile of the lengths of correct completions, is estimated once, at the beginning
of training; it does not say from which samples. Here it is estimated from the first batch in which any completion of
the problem is correct. The values of ``m``, ``lambda`` and the percentile are not printed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from collegium import RewardContext
from collegium_rewards.configs import ToggleConfig
from collegium_rewards.wrapper import Wrapper


class ToggleLength(Wrapper):
    """Every other phase, count a reward only where the completion keeps to its problem's budget."""

    Config = ToggleConfig

    def prepare(self, context: RewardContext) -> None:
        """Build the other reward; no problem has a budget yet."""
        super().prepare(context)
        self._budgets: dict[str, float] = {}
        self._cut = self._scored = 0

    @property
    def limited(self) -> bool:
        """Whether this step's phase is the one with budgets."""
        return is_limited(self._step, self.config.period)

    def changed(self, task_id: str, scores: Sequence[float], lengths: Sequence[int]) -> Sequence[float]:
        """Return the scores, those over the budget as 0 where the phase and the mean score have it so."""
        correct = [length for score, length in zip(scores, lengths, strict=True) if score >= self.config.pass_at]
        if correct and task_id not in self._budgets:
            self._budgets[task_id] = percentile(correct, self.config.percentile)
        values = scores
        if self.limited and task_id in self._budgets:
            values = within_budget(scores, lengths, self._budgets[task_id], self.config.accuracy)
        self._scored += len(scores)
        self._cut += sum(before != after for before, after in zip(scores, values, strict=True))
        return values

    def after_step(self, step: int, metrics: Mapping[str, float]) -> Mapping[str, float]:
        """Go on to the next step; return whether budgets held in this one, and the share of rewards that they took."""
        figures = {"toggle/limited": float(self.limited)}
        if self._scored:
            figures["toggle/over_budget"] = self._cut / self._scored
        self._cut = self._scored = 0
        return {**figures, **super().after_step(step, metrics)}

    def state_dict(self) -> dict[str, Any]:
        """Return the step and the budgets."""
        return {**super().state_dict(), "budgets": dict(self._budgets)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore step and budgets."""
        super().load_state_dict(state)
        self._budgets = {str(task): float(budget) for task, budget in state["budgets"].items()}


def is_limited(step: int, period: int) -> bool:
    """Say whether a step, from 1, is in a phase with budgets: the first `period` steps are, the next are not."""
    return (step - 1) // period % 2 == 0


def within_budget(scores: Sequence[float], lengths: Sequence[int], budget: float, accuracy: float) -> Sequence[float]:
    """Return the scores of one prompt's completions: 0 beyond the budget, unless their mean is below `accuracy`.

    A score below 0 stays: being long must not raise it.
    """
    if sum(scores) / len(scores) < accuracy:
        return scores
    return [score if length <= budget else min(score, 0.0) for score, length in zip(scores, lengths, strict=True)]


def percentile(values: Sequence[int], percent: float) -> float:
    """Return a percentile, between neighbours by their distance."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])
