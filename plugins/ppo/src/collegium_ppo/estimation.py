"""Rewards of tokens, advantages and returns: pure functions of tensors.

Sources: KL penalty at every token, score at the last: InstructGPT (arXiv 2203.02155, section 3.5) after Ziegler et al.
(arXiv 1909.08593, section 2.2). Advantages: GAE (arXiv 1506.02438, equation 16). Penalty of a missing end of sequence:
Tulu 3 (arXiv 2411.15124).

A completion that was cut at the token limit ends there like any other: its score, or the penalty, is that of the whole
text, so nothing is expected after it.

Shapes: ``B`` sequences, ``T`` tokens; everything is 0 outside the mask of trained tokens. Tokens between them that the
policy did not write, such as a tool's, take no part: the next trained token is the next step.
"""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-8
"""Added to a variance before its root is taken."""


def final_scores(scores: Tensor, truncated: Tensor, scale: float, missing_eos: float | None) -> Tensor:
    """Return what each completion is worth, ``[B]``; NaN where there is no verdict, cut at the limit or not.

    Args:
        scores: ``[B]`` the reward source's, NaN for none.
        truncated: ``[B]`` bool, cut at the token limit.
        scale: Multiplies the scores.
        missing_eos: What a truncated completion is worth in place of its score; None leaves that.
    """
    scaled = scale * scores
    return scaled if missing_eos is None else torch.where(truncated & ~scores.isnan(), missing_eos, scaled)


def token_rewards(scores: Tensor, kl: Tensor, mask: Tensor, coefficient: float) -> Tensor:
    """Return each token's reward, ``[B, T]``: the KL penalty, and at the last trained token the score as well.

    Args:
        scores: ``[B]`` finite.
        kl: ``[B, T]`` each token's KL estimate to the reference.
        mask: ``[B, T]`` bool, the trained tokens.
        coefficient: Weight of the penalty.
    """
    rewards = torch.where(mask, -coefficient * kl, 0.0)
    places = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
    last = torch.where(mask, places, -1).amax(dim=1)
    return rewards + torch.where(mask & (places == last[:, None]), scores[:, None], 0.0)


def whiten(values: Tensor, mask: Tensor, *, shift_mean: bool = True) -> Tensor:
    """Return the values over their standard deviation in the mask (unbiased), ``[B, T]``.

    Args:
        values: ``[B, T]``.
        mask: ``[B, T]`` bool, what is counted and returned.
        shift_mean: Whether the mean becomes 0; else it stays what it was.
    """
    chosen = values[mask].double()
    if chosen.numel() == 0:
        return torch.zeros_like(values)
    mean = chosen.mean()
    variance = (chosen - mean).square().sum() / max(1, chosen.numel() - 1)
    whitened = (values - mean) * (variance + EPSILON).rsqrt() + (0.0 if shift_mean else mean)
    return torch.where(mask, whitened, 0.0).to(values.dtype)


def gae(rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float) -> tuple[Tensor, Tensor]:
    """Return advantages and returns (advantage plus value), ``[B, T]`` each.

    Args:
        rewards: ``[B, T]`` of each token.
        values: ``[B, T]`` what was expected before the token; after the last trained one it is 0.
        mask: ``[B, T]`` bool, the trained tokens.
        gamma: Discount.
        lam: Decay of the estimator; 1 is Monte Carlo, 0 one step.
    """
    advantages = torch.zeros_like(rewards)
    later, next_value = torch.zeros_like(rewards[:, 0]), torch.zeros_like(rewards[:, 0])
    for token in range(rewards.shape[1] - 1, -1, -1):
        trained = mask[:, token]
        error = rewards[:, token] + gamma * next_value - values[:, token]
        later = torch.where(trained, error + gamma * lam * later, later)
        next_value = torch.where(trained, values[:, token], next_value)
        advantages[:, token] = torch.where(trained, later, 0.0)
    return advantages, torch.where(mask, advantages + values, 0.0)


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> float:
    """Return the share of the returns' variance that the values foresaw: 1 is all, 0 none; NaN if they do not vary."""
    wanted, left = returns[mask].double(), (returns - values)[mask].double()
    variance = float(wanted.var(correction=0)) if wanted.numel() else 0.0
    return 1.0 - float(left.var(correction=0)) / variance if variance > 0 else float("nan")
