"""How scores of parts become one: pure functions.

Sources: piecewise: Llama 2 (arXiv 2307.09288, section 3.2.3). Gate: MAI-Thinking-1, which grades nothing else of a
response that breaks its policy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from collegium.training.reward_shaping import SATURATION, whitened_logit


def gate_opens(combine: str, score: float, threshold: float, *, is_safety: bool) -> bool:
    """Say whether other parts than the gate count."""
    return score >= threshold and not (combine == "piecewise" and is_safety)


def combined(combine: str, scores: Mapping[str, float], weights: Mapping[str, float], gate: str | None) -> float:
    """Return one number.

    Args:
        combine: ``weighted``, ``gated``, ``piecewise`` or ``product``.
        scores: Part to score, of the parts that count; a gate that is closed stands alone.
        weights: Part to weight.
        gate: The part that goes first.
    """
    if combine == "product":
        return math.prod(scores.values())
    if combine == "piecewise":
        return next((score for name, score in scores.items() if name != gate), scores.get(gate or "", math.nan))
    return sum(weights[name] * score for name, score in scores.items())


def shaped(values: Sequence[float], output: str) -> list[float]:
    """Return the numbers as ``plain``, ``logit``, ``whitened`` or ``whitened-logit`` has them.

    Raises:
        ValueError: If a logit is asked for of a number outside [0, 1].
    """
    if output == "plain" or not values:
        return list(values)
    numbers = torch.tensor(values, dtype=torch.float64)
    if output == "whitened-logit":
        return [float(value) for value in whitened_logit(numbers)]
    if output == "logit":
        if not bool(((numbers >= 0) & (numbers <= 1)).all()):
            raise ValueError(f"expected sigmoid scores in [0, 1], got {numbers.tolist()}")
        return [float(value) for value in torch.logit(numbers, eps=SATURATION)]
    centred = numbers - numbers.mean()
    return [float(value) for value in centred / centred.square().mean().sqrt().clamp(min=SATURATION)]
