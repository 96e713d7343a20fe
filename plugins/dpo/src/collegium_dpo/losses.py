"""Preference losses as functions of log-probs.

Sources: DPO (arXiv 2305.18290) and its conservative form with smoothed labels; IPO (arXiv 2310.12036, equation 17); KTO
(arXiv 2402.01306, equations 7 and 8); ORPO (arXiv 2403.07691, equations 4 to 7); SimPO (arXiv 2405.14734, equation 6).

Shapes: ``B`` pairs. ``change`` is a completion's log-prob less the reference's: summed over its tokens, or their mean.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

CERTAIN = -1e-6
"""Mean log-prob above which the odds are no longer told apart; they are infinite at 0."""


def smoothed_logistic(margin: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Return ``-log sigmoid(margin)``, or its mean with the reversed pair's at the share `label_smoothing`, ``[B]``.

    With ``margin = beta (chosen change - rejected change)`` this is DPO.
    """
    return -(1 - label_smoothing) * logsigmoid(margin) - label_smoothing * logsigmoid(-margin)


def ipo_loss(chosen_change: Tensor, rejected_change: Tensor, *, beta: float) -> Tensor:
    """Return ``(chosen change - rejected change - 1 / (2 beta))^2``, ``[B]``."""
    return (chosen_change - rejected_change - 1 / (2 * beta)).square()


def kto_loss(
    chosen_change: Tensor, rejected_change: Tensor, kl: Tensor, *, beta: float, desirable: float, undesirable: float
) -> Tensor:
    """Return the mean of a pair's two losses, each one less how desirable its completion is made, ``[B]``.

    Args:
        chosen_change: ``[B]`` summed changes of desirable completions.
        rejected_change: ``[B]`` of undesirable ones.
        kl: The policy's divergence from the reference, at least 0, without gradient: what a change is compared with.
        beta: Scale.
        desirable: Weight of the chosen.
        undesirable: Weight of the rejected.
    """
    good = desirable * (1 - torch.sigmoid(beta * (chosen_change - kl)))
    bad = undesirable * (1 - torch.sigmoid(beta * (kl - rejected_change)))
    return (good + bad) / 2


def log_odds_ratio(chosen_mean: Tensor, rejected_mean: Tensor) -> Tensor:
    """Return ``log(odds of chosen / odds of rejected)`` of mean log-probs, ``[B]``; odds are ``p / (1 - p)``."""
    return (chosen_mean - _log_complement(chosen_mean)) - (rejected_mean - _log_complement(rejected_mean))


def _log_complement(logprob: Tensor) -> Tensor:
    """Return ``log(1 - exp(logprob))``, exact at both ends and with a finite gradient."""
    half = -math.log(2)
    near_one = torch.log(-torch.expm1(logprob.clamp(half, CERTAIN)))
    near_zero = torch.log1p(-torch.exp(logprob.clamp(max=half)))
    return torch.where(logprob > half, near_one, near_zero)
