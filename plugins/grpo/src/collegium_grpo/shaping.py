"""Reward shaping by length.

Source: DAPO, soft overlong punishment.

Shapes: ``B`` samples.
"""

from __future__ import annotations

from torch import Tensor


def overlong_penalty(lengths: Tensor, limit: int, buffer: int) -> Tensor:
    """Return 0 up to ``limit - buffer`` tokens, then linearly down to -1 at the limit, and -1 beyond; ``[B]``.

    Args:
        lengths: ``[B]`` tokens of each completion.
        limit: Where the penalty reaches 1.
        buffer: Over how many tokens it grows.
    """
    return -((lengths - (limit - buffer)) / buffer).clamp(0.0, 1.0)
