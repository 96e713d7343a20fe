"""Fingerprints of weights: whether an engine holds those of the trainer.

Two figures per group of weights, their sum and their sum of squares in float64. They do not depend on how weights are
laid out: merged projections (`qkv_proj`, `gate_up_proj`) and transposed ones have the figures of their parts, and rows
of zeros that pad a vocabulary add nothing. A group is a layer, or else a module such as the embeddings or the head.
The order of summation may differ, so figures agree up to rounding, far within what one optimizer step changes. Figures
do not tell weights from the same ones in another order: the stage's `handshake` does, by the first batch's log-probs.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

PIECE = 1 << 22
"""Numbers that are in float64 at once."""
TOLERANCE = 1e-11
"""Relative difference that the order of a float64 summation explains, with a wide margin."""

WorkerFigures: TypeAlias = Mapping[str, Sequence[float]]
"""One worker's weights: name to sum, sum of squares and number."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Sum, sum of squares and number of some weights."""

    total: float = 0.0
    squares: float = 0.0
    count: int = 0

    def __add__(self, other: Figures) -> Figures:
        """Return the figures of both together."""
        return Figures(self.total + other.total, self.squares + other.squares, self.count + other.count)

    def agrees(self, other: Figures) -> bool:
        """Tell whether the other's figures are these, up to the rounding of sums of `count` numbers."""
        near_total = abs(self.total - other.total) <= TOLERANCE * math.sqrt(self.count * self.squares)
        return near_total and abs(self.squares - other.squares) <= TOLERANCE * self.squares


@torch.no_grad()
def figures_of(weight: Tensor) -> Figures:
    """Return a tensor's figures."""
    total = torch.zeros((), dtype=torch.float64, device=weight.device)
    squares = torch.zeros_like(total)
    flat = weight.detach().reshape(-1)
    for start in range(0, flat.numel(), PIECE):
        numbers = flat[start : start + PIECE].double()
        total += numbers.sum()
        squares += numbers.dot(numbers)
    return Figures(total.item(), squares.item(), weight.numel())


def group_of(name: str) -> str:
    """Return the group of a weight: ``layer 3``, or the module that owns it, such as ``lm_head``."""
    parts = name.split(".")
    number = next((part for part in parts if part.isdigit()), None)
    return f"layer {number}" if number is not None else parts[-2] if len(parts) > 1 else name


class Fingerprint:
    """The trainer's side: figures of the weights that pass through `measure`, by group.

    Args:
        dtype: The engine's precision, to which weights are rounded first.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.groups: defaultdict[str, Figures] = defaultdict(Figures)

    def measure(self, weights: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
        """Yield weights in the engine's precision, and take note of them."""
        for name, weight in weights:
            rounded = weight.to(self.dtype) if weight.is_floating_point() else weight
            self.groups[group_of(name)] += figures_of(rounded)
            yield name, rounded

    def differences(self, found: Mapping[str, Figures]) -> list[str]:
        """Return one line for each group whose figures an engine has not."""
        return [
            f"{group}: trainer {_shown(self.groups.get(group))}, engine {_shown(found.get(group))}"
            for group in sorted({*self.groups, *found}, key=_in_order)
            if not self.groups.get(group, Figures()).agrees(found.get(group, Figures()))
        ]


def gathered(workers: Sequence[WorkerFigures]) -> dict[str, Figures]:
    """Return the figures by group of weights that are split over workers.

    A weight whose figures are the same in every worker is there as copies (norms), and counts once.
    """
    groups: defaultdict[str, Figures] = defaultdict(Figures)
    for name in dict.fromkeys(name for worker in workers for name in worker):
        parts = [_read(worker[name]) for worker in workers if name in worker]
        copies = len(parts) > 1 and all(part == parts[0] for part in parts)
        groups[group_of(name)] += parts[0] if copies else sum(parts, Figures())
    return dict(groups)


def _read(said: Sequence[float]) -> Figures:
    total, squares, count = said
    return Figures(float(total), float(squares), int(count))


def _shown(figures: Figures | None) -> str:
    return f"sum {figures.total:.12g} and squares {figures.squares:.12g}" if figures else "no such weights"


def _in_order(group: str) -> tuple[str, int]:
    word, _, number = group.partition(" ")
    return (word, int(number)) if number.isdigit() else (group, 0)
