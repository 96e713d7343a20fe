"""The loss `windowed`: Kimi K2.5's policy optimisation (arXiv 2602.02276).

``-Clip(r, e^alpha, e^beta) A + tau (log r)^2`` with ``r`` the ratio to the old policy. There is no minimum around the
clip: outside the window the first term has no gradient whatever the sign of ``A``, where PPO's clip lets one sign
through. The second term acts everywhere: it pulls back what has left the window. The report divides by the tokens of
the batch (``aggregation: token-mean``) and takes ``A = reward - mean`` (`outcome` with ``std: false``).

Shapes: ``B`` sequences, ``T`` tokens.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from collegium import Loss
from collegium.training.divergence import MAX_LOG_RATIO
from collegium.training.streams import LossOutput, TokenStreams, require
from collegium_grpo.config import WindowedConfig

READER = "loss windowed"


class WindowedLoss(Loss):
    """The ratio times the advantage inside a window of log-ratios, and a square that keeps the log-ratio small."""

    Config = WindowedConfig

    def __init__(self, config: WindowedConfig | dict[str, object] | None = None) -> None:
        super().__init__(config)
        self.needs = frozenset({"current", "advantage", self.config.anchor})  # type: ignore[misc]  # by the options

    def per_token(self, streams: TokenStreams) -> LossOutput:
        """Return the loss and its statistics: ratio, and the shares below and above the window."""
        config, advantage = self.config, require(streams, "advantage", READER)
        log_ratio = streams.current - require(streams, config.anchor, READER)
        loss = windowed(log_ratio, advantage, config.alpha, config.beta) + config.tau * log_ratio.square()
        apart = log_ratio.detach()
        stats = {
            "ratio": _ratio(apart),
            "clip_low": (apart < config.alpha).float(),
            "clip_high": (apart > config.beta).float(),
            "log_ratio_squared": apart.square(),
        }
        return LossOutput(loss, stats)


def windowed(log_ratio: Tensor, advantage: Tensor, low: float, high: float) -> Tensor:
    """Return ``-clip(r, e^low, e^high) A`` per token; its gradient is exactly 0 where ``log r`` is outside."""
    inside = (log_ratio >= low) & (log_ratio <= high)
    edge = _ratio(log_ratio.detach()).clamp(math.exp(low), math.exp(high))
    return -torch.where(inside, _ratio(log_ratio), edge) * advantage


def _ratio(log_ratio: Tensor) -> Tensor:
    return log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()
