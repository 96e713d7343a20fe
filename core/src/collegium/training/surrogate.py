"""Policy-gradient surrogates: ratio, then clip or mask, times a correction for the engine's own probabilities.

Pure functions of tensors; a `collegium.Loss` puts them together.

Sources: clip: PPO; asymmetric clip: DAPO. Sequence ratio: GSPO, in its token form. CISPO: MiniMax-M1. Truncated
importance sampling: OLMo 3 (arXiv 2512.13961). IcePop, zero outside the window: GLM-5. Off-policy mask: DeepSeek-V3.2.

Shapes: ``B`` sequences, ``T`` tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from collegium.training.divergence import MAX_LOG_RATIO


def token_ratio(current: Tensor, old: Tensor) -> Tensor:
    """Return ``p / p_old`` of every token, ``[B, T]``."""
    return (current - old).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()


def sequence_ratio(current: Tensor, old: Tensor, mask: Tensor) -> Tensor:
    """Return GSPO's ratio ``(p / p_old)^(1 / length)`` of every sequence, at every token ``[B, T]``.

    The token form: the value is the sequence's, the gradient that of the token's own log-prob. Averaged over a sequence
    it is the gradient of the sequence form; and advantages may differ by token.
    """
    log_ratio = masked_mean(current.detach() - old, mask)
    return (log_ratio + current - current.detach()).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp()


def clipped(ratio: Tensor, advantage: Tensor, low: float, high: float) -> Tensor:
    """Return ``-min(r A, clip(r, 1 - low, 1 + high) A)`` per token."""
    return -torch.minimum(ratio * advantage, ratio.clamp(1 - low, 1 + high) * advantage)


def cispo(current: Tensor, ratio: Tensor, advantage: Tensor, low: float, high: float) -> Tensor:
    """Return ``-sg[clip(r, 1 - low, 1 + high)] A log p`` per token: no token loses its gradient."""
    return -ratio.detach().clamp(1 - low, 1 + high) * advantage * current


def clip_flags(ratio: Tensor, advantage: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    """Say where the clip takes the gradient away: below (``A < 0``) and above (``A > 0``); float 0 or 1."""
    below = (ratio < 1 - low) & (advantage < 0)
    above = (ratio > 1 + high) & (advantage > 0)
    return below.float(), above.float()


def truncated_importance(log_ratio: Tensor, cap: float) -> Tensor:
    """Return ``min(exp(log_ratio), cap)``, without gradient."""
    return log_ratio.detach().clamp(max=MAX_LOG_RATIO).exp().clamp(max=cap)


def windowed_importance(log_ratio: Tensor, low: float, high: float) -> Tensor:
    """Return ``exp(log_ratio)`` inside ``[low, high]`` and exactly 0 outside, without gradient."""
    ratio = log_ratio.detach().exp()
    return torch.where((ratio >= low) & (ratio <= high), ratio, 0.0)


def on_policy_mask(current: Tensor, behaviour: Tensor, advantage: Tensor, mask: Tensor, delta: float) -> Tensor:
    """Return 0 for sequences to learn nothing from, else 1, ``[B, 1]``.

    Out is a sequence with a negative advantage whose mean ``log behaviour - log current`` exceeds `delta`: the policy
    has already moved away from it. The sign is that of the mean advantage over the sequence, as
    terms may differ by token.
    """
    drift = masked_mean(behaviour - current.detach(), mask)
    out = (masked_mean(advantage, mask) < 0) & (drift > delta)
    return (~out).float()


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return each sequence's mean over its trained tokens, ``[B, 1]``; 0 where it has none."""
    total = torch.where(mask, values, 0.0).sum(dim=1, keepdim=True)
    return total / mask.sum(dim=1, keepdim=True).clamp(min=1)
