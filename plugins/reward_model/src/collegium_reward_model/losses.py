"""The losses of reward models, on the rewards of one prompt's completions.

Sources: the ranking loss over all pairs of a prompt, InstructGPT (arXiv 2203.02155, equation 1); the margin, Llama 2
(arXiv 2307.09288, equation 2); centering, arXiv 2312.09244. The pairs of a prompt are one element of the batch, so that
a prompt counts once, however many completions it has.

Shapes: ``K`` completions of a prompt, ``P`` their pairs, ``[P, 2]`` indices of the better and the worse.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


def all_pairs(count: int) -> list[tuple[int, int]]:
    """Return the pairs ``(better, worse)`` of `count` completions that are ranked best first."""
    return [(better, worse) for better in range(count) for worse in range(better + 1, count)]


def margins_of(rewards_K: Tensor, pairs_P2: Tensor) -> Tensor:
    """Return how much better each pair's better completion is rewarded, ``[P]``."""
    return rewards_K[pairs_P2[:, 0]] - rewards_K[pairs_P2[:, 1]]


def ranking_loss(rewards_K: Tensor, pairs_P2: Tensor, margin_P: Tensor | float = 0.0) -> Tensor:
    """Return the mean over the pairs of ``-log sigmoid(r_better - r_worse - margin)``, a scalar.

    Args:
        rewards_K: ``[K]`` rewards of the prompt's completions.
        pairs_P2: ``[P, 2]`` int64.
        margin_P: ``[P]`` by how much each pair should differ; 0 is the Bradley-Terry likelihood.
    """
    return -logsigmoid(margins_of(rewards_K, pairs_P2) - margin_P).mean()


def centering_loss(rewards_K: Tensor, pairs_P2: Tensor) -> Tensor:
    """Return the mean over the pairs of ``(r_better + r_worse)^2``, a scalar."""
    return (rewards_K[pairs_P2[:, 0]] + rewards_K[pairs_P2[:, 1]]).square().mean()


def accuracy(margins_P: Tensor) -> float:
    """Return the share of pairs told apart rightly; a tie is half a point."""
    return float(((margins_P > 0).float() + 0.5 * (margins_P == 0).float()).mean())


def calibration_error(margins_P: Tensor, bins: int = 10) -> float:
    """Return the expected calibration error of ``sigmoid(margin)`` as the chance that the preferred one is better.

    Pairs are sorted into equal bins by the confidence, in [0.5, 1], of the model's own choice; the error is the mean
    distance of confidence and accuracy in a bin, weighed by its pairs.
    """
    confidence = torch.sigmoid(margins_P.double().abs())
    right = (margins_P > 0).double() + 0.5 * (margins_P == 0).double()
    bin_of = ((confidence - 0.5) * 2 * bins).long().clamp(max=bins - 1)
    gaps = [abs(float((confidence - right)[bin_of == each].sum())) for each in range(bins)]
    return sum(gaps) / len(margins_P)
