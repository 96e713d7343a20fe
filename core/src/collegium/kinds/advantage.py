"""Advantages: named per-token terms whose sum drives the surrogate."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from collegium.kinds.adaptive import Adaptive

if TYPE_CHECKING:
    from torch import Tensor

    from collegium.training.batch import RolloutBatch


class Advantage(Adaptive):
    """One term of the advantage. Terms are computed without gradient and summed."""

    needs: ClassVar[frozenset[str]] = frozenset()
    """Log-prob streams the term reads from the batch: ``old``, ``behaviour``, ``reference``, ``teacher``."""

    def per_token(self, batch: RolloutBatch) -> Tensor:
        """Return the term, shape ``[B, T]`` float32; zero outside `batch.completion_mask`."""
        raise NotImplementedError
