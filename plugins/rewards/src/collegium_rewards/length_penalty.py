"""The reward source `length-penalty`: a cost of length, the same for all tasks or by their mode.

``-weight * clip((n - free) / (limit - free), 0, 1)`` with ``n`` tokens. With ``free: 0`` it is linear in the length;
with ``free`` a little below ``limit`` it is DAPO's soft overlong punishment. By mode it makes DeepSeek-V4's efforts of
reasoning (arXiv 2606.19348, section 5.1), whose report prints neither the shape nor the weights.
"""

from __future__ import annotations

from collections.abc import Sequence

from collegium import Error, RewardSource, Sample, Score, Verdict
from collegium_rewards.configs import OWNER, LengthPenaltyConfig, LengthPrice
from collegium_rewards.wrapper import length_of


class LengthPenalty(RewardSource):
    """Score what a completion's length costs: 0 or less. A part of `composed`."""

    Config = LengthPenaltyConfig

    def score(self, batch: Sequence[Sample]) -> Sequence[Verdict]:
        """Return each completion's cost; one without token ids, or of a mode that has no price, is an `Error`."""
        return [self._score(sample) for sample in batch]

    def _score(self, sample: Sample) -> Verdict:
        task, modes = sample.task, self.config.modes
        price = self.config.price or modes.get(task.mode)
        if price is None:
            known = ", ".join(map(repr, modes))
            return Error(f"task {task.id!r} has the mode {task.mode!r}; length-penalty has a price for {known}", OWNER)
        length = length_of(sample)
        if not length:
            return Error(f"the completion of task {task.id!r} has no token ids, so it has no length in tokens", OWNER)
        return Score(-length_penalty(length, price), {"tokens": length})


def length_penalty(length: int, price: LengthPrice) -> float:
    """Return what a completion loses, from 0 to the price's weight."""
    share = (length - price.free) / (price.limit - price.free)
    return price.weight * min(max(share, 0.0), 1.0)
