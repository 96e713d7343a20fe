"""The magnitude that a share of a model's entries reaches, found without holding the model: two passes of counting.

A float32 that is not negative orders like its bits, so the first pass finds the upper 16 bits of the magnitude that is
asked for, and the second the lower ones: the result is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

HALF = 1 << 16


def magnitude_threshold(changes: Callable[[], Iterable[Tensor]], density: float) -> float:
    """Return the k-th largest magnitude over all the tensors, k being the share `density` of their entries.

    Args:
        changes: Gives the float32 tensors anew each time it is called.
        density: In (0, 1]; at least one entry is kept.
    """
    if density == 1:
        return 0.0
    upper = torch.zeros(HALF, dtype=torch.long)
    for change in changes():
        upper += torch.bincount(_bits(change) >> 16, minlength=HALF)
    keep = max(1, int(density * int(upper.sum())))
    high, above = _bin_of(upper, keep)
    lower = torch.zeros(HALF, dtype=torch.long)
    for change in changes():
        bits = _bits(change)
        lower += torch.bincount(bits[bits >> 16 == high] & (HALF - 1), minlength=HALF)
    low, _ = _bin_of(lower, keep - above)
    return float(torch.tensor(high * HALF + low, dtype=torch.int32).view(torch.float32))


def _bits(change: Tensor) -> Tensor:
    return change.abs().float().contiguous().view(-1).view(torch.int32)


def _bin_of(counts: Tensor, rank: int) -> tuple[int, int]:
    """Return the bin that holds the rank-th entry from above, and how many entries lie above that bin."""
    reached = counts.flip(0).cumsum(0)
    place = int((reached < rank).sum())
    return len(counts) - 1 - place, int(reached[place - 1]) if place else 0
