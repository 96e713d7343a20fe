"""One tensor of the merged model from those of its sources."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, partial, reduce

import torch
from torch import Tensor

from collegium import PolicyError
from collegium.training.seeds import derive
from collegium_merge.config import OWNER, MergeConfig
from collegium_merge.methods import average, drop_and_rescale, elect_and_merge, trim, weighted_sum
from collegium_merge.source import SourceModel
from collegium_merge.threshold import magnitude_threshold


class Merger:
    """Merge models tensor by tensor, in float32; a tensor is stored in the widest precision of its sources.

    Args:
        config: Method and its options.
        sources: The models that are merged.
        weights: One per source.
        base: The common ancestor; None for an average.
        seed: Of DARE's draws.
    """

    def __init__(
        self,
        config: MergeConfig,
        sources: Sequence[SourceModel],
        weights: Sequence[float],
        base: SourceModel | None,
        seed: int,
    ) -> None:
        self.config = config
        self.sources = sources
        self.weights = weights
        self.base = base
        self.seed = seed

    def merge(self, name: str) -> Tensor:
        """Return a tensor of the merged model.

        Raises:
            PolicyError: If it is not finite, or is of whole numbers that differ.
        """
        stored = [source.read(name) for source in self.sources]
        if not stored[0].is_floating_point():
            return self._same(name, stored)
        dtype = reduce(torch.promote_types, (tensor.dtype for tensor in stored))
        merged = self._merge(name, [tensor.float() for tensor in stored]).to(dtype)
        if not torch.isfinite(merged).all():
            raise PolicyError(
                f"tensor {name!r} of the merged model is not finite",
                fix="look at this tensor in the sources, or lower weights and scale",
                owner=OWNER,
            )
        return merged

    def _merge(self, name: str, tensors: Sequence[Tensor]) -> Tensor:
        if self.base is None:
            return average(tensors, self.weights)
        base = self.base.read(name).float()
        changes = [tensor - base for tensor in tensors]
        if self.config.method == "ties":
            trimmed = [trim(change, threshold) for change, threshold in zip(changes, self._thresholds, strict=True)]
            return base + self.config.scale * elect_and_merge(trimmed, self.weights)
        if self.config.method == "dare":
            changes = [
                drop_and_rescale(change, self.config.kept, derive(self.seed, source.name, name))
                for source, change in zip(self.sources, changes, strict=True)
            ]
        return base + self.config.scale * weighted_sum(changes, self.weights)

    @cached_property
    def _thresholds(self) -> list[float]:
        """The magnitude from which on TIES keeps each source's changes, over all its tensors."""
        return [magnitude_threshold(partial(self._changes, source), self.config.kept) for source in self.sources]

    def _changes(self, source: SourceModel) -> Iterator[Tensor]:
        for name in source.files:
            tensor = source.read(name)
            if self.base is not None and tensor.is_floating_point():
                yield tensor.float() - self.base.read(name).float()

    def _same(self, name: str, stored: Sequence[Tensor]) -> Tensor:
        for source, tensor in zip(self.sources, stored, strict=True):
            if not torch.equal(tensor, stored[0]):
                raise PolicyError(
                    f"tensor {name!r} holds whole numbers and differs between {self.sources[0].name!r} and "
                    f"{source.name!r}; these cannot be merged",
                    fix="merge models that share it",
                    owner=OWNER,
                )
        return stored[0]
