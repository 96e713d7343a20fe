"""The outcome advantage: how much better a completion did than the others of its prompt.

Source: GRPO (DeepSeek-R1); without the standard deviation: Dr. GRPO, OLMo 3 (arXiv 2512.13961), DeepSeek-V3.2.

Shapes: ``B`` samples.
"""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-6
"""Added to a group's standard deviation."""


def group_relative(rewards: Tensor, groups: Tensor, *, std: bool) -> tuple[Tensor, Tensor]:
    """Return each sample's reward less its group's mean, and which samples have a reward at all.

    Args:
        rewards: ``[B]``, NaN where the sample has no score (abstained or failed).
        groups: ``[B]`` int64; samples of one prompt share a number.
        std: Also divide by the group's (unbiased) standard deviation.

    Returns:
        Advantages ``[B]`` float32 and a valid mask ``[B]`` bool. A sample without a score is in no mean and has
        advantage 0, as has the only scored sample of a group.
    """
    if rewards.shape != groups.shape:
        raise ValueError(f"expected one group per reward, got {list(groups.shape)} for {list(rewards.shape)}")
    if bool(torch.isinf(rewards).any()):
        raise ValueError(f"rewards must be finite (or NaN for no score), got {rewards.tolist()}")
    valid = ~torch.isnan(rewards)
    scored = torch.where(valid, rewards, 0.0).double()
    _, index = torch.unique(groups, return_inverse=True)
    count = _sum_by(index, valid.double())
    centred = torch.where(valid, scored - (_sum_by(index, scored) / count.clamp(min=1))[index], 0.0)
    if std:
        variance = _sum_by(index, centred.square()) / (count - 1).clamp(min=1)
        centred = centred / (variance.sqrt() + EPSILON)[index]
    return centred.float(), valid


def _sum_by(index: Tensor, values: Tensor) -> Tensor:
    return values.new_zeros(int(index.max()) + 1 if index.numel() else 0).index_add(0, index, values)
