"""Try out whether a model keeps sequences of one row apart, where a mask of ours says so."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

PROMPT, COMPLETION = 5, 4
"""Tokens of the probe's shared prompt and of each of its two completions."""
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-3}
"""Greatest difference allowed, relative to the largest state; half precision is given more."""


@torch.no_grad()
def keeps_apart(
    hidden_states: Callable[[Tensor, Tensor | None, Tensor | None], Tensor],
    vocabulary: int,
    device: torch.device,
    dtype: torch.dtype,
) -> bool:
    """Compare two completions that share a prompt in one row with each behind the prompt in a row of its own.

    Args:
        hidden_states: Tokens ``[B, T]``, additive mask ``[B, 1, T, T]``, positions ``[B, T]`` to states ``[B, T, D]``.
        vocabulary: Token ids to draw from.
        device: Where the model is.
        dtype: Its precision.

    Returns:
        False, too, if the model cannot take such a mask at all.
    """
    length = PROMPT + 2 * COMPLETION
    tokens = torch.arange(length, device=device) * 7 % vocabulary
    positions = torch.arange(length, device=device)
    positions[PROMPT + COMPLETION :] -= COMPLETION
    seen = torch.ones(length, length, dtype=torch.bool, device=device).tril()
    seen[PROMPT + COMPLETION :, PROMPT : PROMPT + COMPLETION] = False
    mask = torch.zeros(length, length, dtype=dtype, device=device).masked_fill(~seen, torch.finfo(dtype).min)
    second = torch.cat([torch.arange(PROMPT), torch.arange(PROMPT + COMPLETION, length)]).to(device)
    try:
        together = hidden_states(tokens[None], mask[None, None], positions[None])[0].float()
        first_alone = hidden_states(tokens[None, : PROMPT + COMPLETION], None, None)[0].float()
        second_alone = hidden_states(tokens[None, second], None, None)[0].float()
    except Exception:  # what a model does with a mask that it does not know is its own affair: then it cannot pack
        return False
    difference = max(
        float((together[: PROMPT + COMPLETION] - first_alone).abs().max()),
        float((together[second] - second_alone).abs().max()),
    )
    return difference <= TOLERANCE.get(dtype, 5e-2) * float(first_alone.abs().max())
