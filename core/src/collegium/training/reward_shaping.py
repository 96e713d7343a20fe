"""Rewards of Llama 2-Chat (arXiv 2307.09288): safety first, helpfulness otherwise, whitened over the batch.

Shapes: ``B`` samples.
"""

from __future__ import annotations

import torch
from torch import Tensor

SATURATION = 1e-6
"""Scores are kept this far from 0 and 1, where their logit would be infinite."""


def piecewise_reward(safety: Tensor, helpfulness: Tensor, is_safety: Tensor, *, threshold: float = 0.15) -> Tensor:
    """Return the safety score where the prompt is about safety or the answer scores unsafe, else the helpfulness score.

    Args:
        safety: ``[B]`` in (0, 1), the safety reward model's sigmoid.
        helpfulness: ``[B]`` in (0, 1), the helpfulness reward model's sigmoid.
        is_safety: ``[B]`` bool, prompts tagged as safety prompts.
        threshold: Safety below this is unsafe.
    """
    return torch.where(is_safety | (safety < threshold), safety, helpfulness)


def whitened_logit(rewards: Tensor) -> Tensor:
    """Undo the sigmoid and whiten over the batch: mean 0, (population) variance 1; zero if all are alike.

    Raises:
        ValueError: If a reward is outside [0, 1] or not a number.
    """
    if not bool(((rewards >= 0) & (rewards <= 1)).all()):
        raise ValueError(f"expected sigmoid scores in [0, 1], got {rewards.tolist()}")
    logits = torch.logit(rewards, eps=SATURATION)
    centred = logits - logits.mean()
    return centred / centred.square().mean().sqrt().clamp(min=SATURATION)
