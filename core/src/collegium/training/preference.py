"""Preference losses: direct preference optimisation on pairs.

Sources: DPO (arXiv 2305.18290); length-normalised: Tulu 3 and OLMo 3 (arXiv 2512.13961), both with beta 5.

Shapes: ``B`` pairs or sequences, ``T`` tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor


def sequence_logprobs(logprobs: Tensor, mask: Tensor, *, mean: bool) -> Tensor:
    """Return each sequence's log-prob ``[B]``: summed over its trained tokens, or their mean (length-normalised)."""
    total = torch.where(mask, logprobs, 0.0).sum(dim=1)
    return total / mask.sum(dim=1).clamp(min=1) if mean else total


def dpo_loss(
    chosen: Tensor, rejected: Tensor, reference_chosen: Tensor, reference_rejected: Tensor, *, beta: float
) -> Tensor:
    """Return ``-log sigmoid(beta [(log p/ref of chosen) - (log p/ref of rejected)])`` of every pair, ``[B]``.

    The arguments are `sequence_logprobs`: sums give DPO, means the length-normalised form.
    """
    margin = (chosen - reference_chosen) - (rejected - reference_rejected)
    return -torch.nn.functional.logsigmoid(beta * margin)
