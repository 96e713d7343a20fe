"""Weighters: how much each sequence of a batch counts in the loss."""

from __future__ import annotations

from collections.abc import Sequence

from collegium.component import Configurable


class Weighter(Configurable):
    """Weigh sequences, for example so that every domain has its target share of the gradient."""

    def weights(self, domains: Sequence[str], tokens: Sequence[int]) -> Sequence[float]:
        """Return one weight per sequence, with mean 1 over the batch.

        Args:
            domains: Domain of each sequence, length ``B``.
            tokens: Trained tokens of each sequence, length ``B``.
        """
        raise NotImplementedError
