"""The policy's and the value function's loss per token.

Sources: clipped surrogate: PPO (arXiv 1707.06347, equation 7), here with the entropy as a bonus (equation 9). Clipped
value loss: OpenAI's baselines, and Ziegler et al. (arXiv 1909.08593).

Shapes: ``B`` sequences, ``T`` tokens, ``N`` trained tokens, ``D`` width, ``V`` vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

from collegium import Config, Loss
from collegium.training import divergence, surrogate
from collegium.training.logprobs import CHUNK, scatter_to_tokens
from collegium.training.streams import LossOutput, TokenStreams, require
from collegium.training.vocabulary import entropy_of, over_vocabulary

READER = "the stage ppo"


class PolicyLossConfig(Config):
    """Options of `PolicyLoss`, which the stage's own options give."""

    clip: float
    """The ratio is clipped to ``[1 - clip, 1 + clip]``."""
    entropy_coefficient: float
    """Weight of the entropy bonus."""


class PolicyLoss(Loss):
    """``-min(r A, clip(r) A)``, less the entropy bonus."""

    Config = PolicyLossConfig

    def __init__(self, config: PolicyLossConfig) -> None:
        super().__init__(config)
        hidden = {"hidden"} if config.entropy_coefficient else set()
        self.needs = frozenset({"current", "old", "advantage"} | hidden)  # type: ignore[misc]  # depends on the options

    def per_token(self, streams: TokenStreams) -> LossOutput:
        """Return the loss and its statistics: ratio, share that is clipped, and KL of the update."""
        old, advantage = require(streams, "old", READER), require(streams, "advantage", READER)
        clip = self.config.clip
        ratio = surrogate.token_ratio(streams.current, old)
        loss = surrogate.clipped(ratio, advantage, clip, clip)
        below, above = surrogate.clip_flags(ratio.detach(), advantage, clip, clip)
        stats = {
            "ratio": ratio.detach(),
            "clip_fraction": below + above,
            "approx_kl": divergence.k3(old, streams.current.detach()),
        }
        if self.config.entropy_coefficient:
            entropy = entropy_with_gradient(require(streams, "hidden", READER), require(streams, "head", READER))
            loss = loss - self.config.entropy_coefficient * scatter_to_tokens(entropy, streams.mask)
        return LossOutput(loss, stats)


def entropy_with_gradient(hidden: Tensor, head: Tensor) -> Tensor:
    """Return the entropy of the next token at each state, ``[N]``, with its gradient.

    Args:
        hidden: ``[N, D]``.
        head: ``[V, D]``.
    """

    def rule(logits: Tensor, _: slice) -> tuple[Tensor, Tensor]:
        logprobs = logits.log_softmax(dim=-1)
        return entropy_of(logprobs), logprobs

    return over_vocabulary(rule, hidden, head, chunk=CHUNK)[0]


def value_loss(values: Tensor, old: Tensor, returns: Tensor, clip: float | None) -> tuple[Tensor, Tensor]:
    """Return half the squared error, the larger of the value's and the clipped value's, and where that is the latter's.

    Args:
        values: Of the model being trained; carries the gradient.
        old: Of the model that saw the rollouts, of the same shape.
        returns: What they should be.
        clip: How far from `old` a value is followed; None: any way.
    """
    plain = (values - returns).square()
    if clip is None:
        return plain / 2, torch.zeros_like(plain)
    kept = (old + (values - old).clamp(-clip, clip) - returns).square()
    return torch.maximum(plain, kept) / 2, (kept > plain).float()
