"""The loss `double-sided`: direct importance sampling against the engine, with tokens far from it left out.

Source: GLM-5's agentic reinforcement learning. The ratio is to the log-probs that the engine recorded when it sampled;
nothing is scored anew, so rollouts of any age, or of several ages, need no further pass of the trainer.

Shapes: ``B`` sequences, ``T`` tokens.
"""

from __future__ import annotations

from typing import ClassVar

import torch

from collegium import Loss
from collegium.training.streams import LossOutput, TokenStreams, require
from collegium.training.surrogate import token_ratio
from collegium_grpo.config import DoubleSidedConfig


class DoubleSidedLoss(Loss):
    """``-r A`` with ``r = current / behaviour`` where ``1 - clip_low <= r <= 1 + clip_high``, and 0 elsewhere.

    Unlike a clip it does not ask for the advantage's sign: a token that has left the range has neither value nor
    gradient. GLM-5's advantage is the reward less the group's mean: ``{use: outcome, std: false}``.
    """

    Config = DoubleSidedConfig
    needs: ClassVar[frozenset[str]] = frozenset({"current", "behaviour", "advantage"})

    def per_token(self, streams: TokenStreams) -> LossOutput:
        """Return the loss and its statistics: ratio, and where it lies below and above the range."""
        reader = f"loss {type(self).__name__}"
        ratio = token_ratio(streams.current, require(streams, "behaviour", reader))
        below = ratio.detach() < 1 - self.config.clip_low
        above = ratio.detach() > 1 + self.config.clip_high
        out = below | above
        loss = torch.where(out, 0.0, -ratio * require(streams, "advantage", reader))
        flags = {"clip_low": below.float(), "clip_high": above.float(), "masked": out.float()}
        return LossOutput(loss, {"ratio": ratio.detach(), **flags})
