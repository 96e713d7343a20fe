"""The loss `adaptive-entropy`: MAI-Thinking-1's control of entropy by the upper clip, and its outer clip.

``-min(r A, clip(r, 1 - e, 1 / (1 - e) + k) A)`` with ``r`` cut at `ratio_max` first; after each step ``k`` moves by
`rate` up where the entropy is below the target, down where it is above. It begins at 0, where the clip is symmetric in
the log-ratio. MAI estimates the entropy from the sampled tokens, importance-weighted; here it is that of the whole
distribution, averaged over the trained tokens. MAI's loss is the mean over tokens: ``aggregation: token-mean``.

Shapes: ``B`` sequences, ``T`` tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from collegium import Loss
from collegium.training import surrogate
from collegium.training.streams import LossOutput, TokenStreams, require
from collegium_rewards.configs import AdaptiveEntropyConfig

READER = "loss adaptive-entropy"


class AdaptiveEntropyLoss(Loss):
    """A clipped surrogate whose upper clip is wider the further the entropy has been below its target."""

    Config = AdaptiveEntropyConfig
    needs: ClassVar[frozenset[str]] = frozenset({"current", "old", "advantage"})

    def __init__(self, config: AdaptiveEntropyConfig | Mapping[str, Any] | None = None) -> None:
        super().__init__(config)
        self.widening = 0.0
        """The ``k`` of this step."""

    def per_token(self, streams: TokenStreams) -> LossOutput:
        """Return the loss and its statistics: ratio, clipped shares, and the share that the outer clip cuts."""
        advantage = require(streams, "advantage", READER)
        ratio = surrogate.token_ratio(streams.current, require(streams, "old", READER))
        low, high = clip_range(self.config.epsilon, self.widening)
        loss = outer_clipped(ratio, advantage, low, high, self.config.ratio_max)
        below, above = surrogate.clip_flags(ratio.detach(), advantage, low, high)
        cut = (ratio.detach() > self.config.ratio_max).float()
        return LossOutput(loss, {"ratio": ratio.detach(), "clip_low": below, "clip_high": above, "outer_clip": cut})

    def after_step(self, step: int, metrics: Mapping[str, float]) -> Mapping[str, float]:
        """Move ``k``; a step without an update has no entropy and moves nothing. Return the ``k`` of this step."""
        held = self.widening
        if "entropy" in metrics:
            self.widening = moved(held, metrics["entropy"], self.config)
        return {"clip_widening": held}

    def state_dict(self) -> dict[str, Any]:
        """Return ``k``."""
        return {"widening": self.widening}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore ``k``."""
        self.widening = float(state["widening"])


def clip_range(epsilon: float, widening: float) -> tuple[float, float]:
    """Return how far below and above 1 the ratio may go: ``1 - e`` and ``1 / (1 - e) + k``."""
    return epsilon, 1 / (1 - epsilon) + widening - 1


def outer_clipped(ratio: Tensor, advantage: Tensor, low: float, high: float, ratio_max: float) -> Tensor:
    """Return ``-min(r A, clip(r, 1 - low, 1 + high) A)`` per token, with ``r`` cut at `ratio_max`; ``[B, T]``."""
    return surrogate.clipped(torch.clamp(ratio, max=ratio_max), advantage, low, high)


def moved(widening: float, entropy: float, config: AdaptiveEntropyConfig) -> float:
    """Return ``clip(k + rate * sign(target - entropy), 0, largest)``."""
    direction = (entropy < config.target) - (entropy > config.target)
    return min(max(widening + config.rate * direction, 0.0), config.largest)
