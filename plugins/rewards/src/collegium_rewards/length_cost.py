"""The reward source `length-cost`: MAI-Thinking-1's length penalty, which grows with how easy the problem is."""

from __future__ import annotations

from collections.abc import Sequence

from collegium_rewards.configs import LengthCostConfig
from collegium_rewards.wrapper import Wrapper


class LengthCost(Wrapper):
    """A reward less ``weight * pass rate * length / max_tokens``; the pass rate is that of the prompt in this batch."""

    Config = LengthCostConfig

    def changed(self, task_id: str, scores: Sequence[float], lengths: Sequence[int]) -> Sequence[float]:
        """Return the scores, less their cost."""
        rate = sum(score >= self.config.pass_at for score in scores) / len(scores)
        costs = length_costs(lengths, rate, self.config.max_tokens)
        return [score - self.config.weight * cost for score, cost in zip(scores, costs, strict=True)]


def length_costs(lengths: Sequence[int], pass_rate: float, max_tokens: int) -> list[float]:
    """Return ``pass_rate * length / max_tokens`` of each completion."""
    return [pass_rate * length / max_tokens for length in lengths]
