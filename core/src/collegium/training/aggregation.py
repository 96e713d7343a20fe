"""Aggregation: from a per-token loss to one number, the same whatever the micro-batches and ranks.

The weights of all tokens are computed once for the whole batch; a micro-batch then adds ``sum(weights * loss)`` of its
rows, and every split of the batch ends with the same sum. Ranks that hold different rows add up their `Totals` first.

Sources: sequence mean: GRPO (DeepSeek-R1). Token mean: DAPO. Constant: Dr. GRPO.

Shapes: ``B`` sequences, ``T`` tokens.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

Aggregation = Literal["sequence-mean", "token-mean", "constant"]


class Totals(NamedTuple):
    """What a batch is divided by. Over ranks, totals add.

    Args:
        sequences: Weight of the sequences that have a trained token.
        tokens: Weight of the trained tokens.
    """

    sequences: Tensor
    tokens: Tensor


def totals_of(mask: Tensor, sequence_weights: Tensor | None = None) -> Totals:
    """Return the totals of the rows at hand, as two float64 scalars that can be all-reduced (summed) over ranks."""
    weights = _sequence_weights(mask, sequence_weights).double()
    lengths = mask.sum(dim=1)
    return Totals((weights * (lengths > 0)).sum(), (weights * lengths).sum())


def token_weights(
    mask: Tensor,
    mode: Aggregation,
    *,
    sequence_weights: Tensor | None = None,
    constant: int | None = None,
    totals: Totals | None = None,
) -> Tensor:
    """Return how much each token's loss counts, so that the batch's loss is ``sum(weights * loss)``.

    With ``w`` the sequence weights and ``n`` the trained tokens of a sequence:

    * ``sequence-mean``: ``w / (n * sum of w)``. Every sequence counts alike, however long.
    * ``token-mean``: ``w / (sum of w * n)``. Every token counts alike.
    * ``constant``: ``w / (constant * sum of w)``. Every token counts alike, and a longer batch has a larger loss.

    Sequences without a trained token count nowhere.

    Args:
        mask: ``[B, T]`` bool, the trained tokens.
        mode: The aggregation.
        sequence_weights: ``[B]`` non-negative weights from a weighter. Default: 1.
        constant: For ``constant``: the completion length that counts as 1, usually the token limit.
        totals: Sum over all ranks of `totals_of`. Default: that of `mask`, which then is the whole batch.

    Returns:
        ``[B, T]`` float32, zero outside the mask; all zero if nothing is trained.

    Raises:
        ValueError: If the mode is unknown, a weight is negative or not finite, or `constant` is missing or superfluous.
    """
    if mode not in get_args(Aggregation):
        raise ValueError(f"unknown aggregation {mode!r}; one of {', '.join(get_args(Aggregation))}")
    if (mode == "constant") != (constant is not None):
        raise ValueError(f"aggregation {mode!r} with constant={constant}: 'constant', and only it, takes a length")
    if constant is not None and constant < 1:
        raise ValueError(f"constant must be at least 1 token, got {constant}")
    totals = totals or totals_of(mask, sequence_weights)
    weights = _sequence_weights(mask, sequence_weights).double()
    lengths = mask.sum(dim=1)
    if constant is not None:
        per_token = weights / (constant * totals.sequences)
    elif mode == "sequence-mean":
        per_token = weights / (lengths.clamp(min=1) * totals.sequences)
    else:
        per_token = weights / totals.tokens
    # 0 / 0 where nothing has any weight.
    return torch.where(mask, per_token.nan_to_num(nan=0.0)[:, None], 0.0).float()


def _sequence_weights(mask: Tensor, weights: Tensor | None) -> Tensor:
    if weights is None:
        return torch.ones(mask.shape[0], device=mask.device)
    if weights.shape != mask.shape[:1]:
        raise ValueError(f"expected one weight per sequence, [{mask.shape[0]}], got {list(weights.shape)}")
    if not bool(torch.isfinite(weights).all()) or bool((weights < 0).any()):
        raise ValueError(f"sequence weights must be finite and not negative, got {weights.tolist()}")
    return weights.to(mask.device)
