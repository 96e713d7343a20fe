"""Merging methods as functions of one tensor of each model, in float32.

Sources: weight averages (Llama 3, arXiv 2407.21783); task arithmetic (arXiv 2212.04089); TIES (arXiv 2306.01708);
DARE (arXiv 2311.03099). A *change* is a model's tensor less that of the common ancestor.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def average(tensors: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Return the weighted mean; that of equal tensors is that tensor, to the last bit."""
    mean, total = torch.zeros_like(tensors[0]), 0.0
    for tensor, weight in zip(tensors, weights, strict=True):
        total += weight
        if weight:
            mean = mean + (tensor - mean) * (weight / total)
    return mean


def weighted_sum(changes: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Return the sum of the changes, each times its weight: task arithmetic."""
    total = torch.zeros_like(changes[0])
    for change, weight in zip(changes, weights, strict=True):
        total = total + weight * change
    return total


def trim(change: Tensor, threshold: float) -> Tensor:
    """Set entries whose magnitude is below the threshold to 0."""
    return torch.where(change.abs() >= threshold, change, 0.0)


def elect_and_merge(changes: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Return TIES' merge of trimmed changes: per entry, the mean of those that agree with the elected sign.

    The elected sign is that of the weighted sum; where that is 0, nothing changes.
    """
    elected = weighted_sum(changes, weights).sign()
    total, share = torch.zeros_like(elected), torch.zeros_like(elected)
    for change, weight in zip(changes, weights, strict=True):
        agrees = (change.sign() == elected) & (elected != 0)
        total = total + torch.where(agrees, weight * change, 0.0)
        share = share + weight * agrees
    return torch.where(share > 0, total / share.clamp(min=torch.finfo(share.dtype).tiny), 0.0)


def drop_and_rescale(change: Tensor, density: float, seed: int) -> Tensor:
    """Return DARE's change: each entry kept with probability `density`, and divided by it, so that its mean stays."""
    if density == 1:
        return change
    draws = torch.rand(change.shape, generator=torch.Generator().manual_seed(seed))
    return torch.where(draws < density, change / density, 0.0)
