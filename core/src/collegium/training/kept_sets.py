"""The ids that truncation (`top_p`) kept of each token's distribution, as a batch carries and replays them.

Sources: keep sampling mask: DeepSeek-V3.2 (arXiv 2512.02556); mask replay: MAI-Thinking-1.

Shapes: ``N`` tokens, ``M`` ids of all their sets together, ``C`` tokens of a chunk, ``K`` the most ids of one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from collegium.errors import EngineError
from collegium.kinds.engine import Generation


@dataclass(frozen=True)
class KeptSets:
    """One set of ids for each of some tokens, laid end to end: ragged, for most sets are small and a few are not.

    Args:
        ids: ``[M]`` int32, the sets' ids.
        counts: ``[N]`` int32, how many ids each set has.
    """

    ids: Tensor
    counts: Tensor

    @classmethod
    def of(cls, made: Generation) -> KeptSets:
        """Return the sets of the tokens that the model sampled.

        Raises:
            EngineError: If there are none, not one for each token, or one that lacks the token it was sampled from.
        """
        kept, own = made.kept, made.sampled or (True,) * len(made.token_ids)
        if kept is None or len(kept) != len(made.token_ids):
            found = "none" if kept is None else f"{len(kept)} for {len(made.token_ids)} tokens"
            raise _malformed(f"expected one set of kept ids for each sampled token, found {found}")
        sets = [ids for ids, mine in zip(kept, own, strict=True) if mine]
        tokens = [token for token, mine in zip(made.token_ids, own, strict=True) if mine]
        found_sets = cls(
            torch.tensor([token for ids in sets for token in ids], dtype=torch.int32),
            torch.tensor([len(ids) for ids in sets], dtype=torch.int32),
        )
        if not found_sets.hold(torch.tensor(tokens, dtype=torch.int32)):
            raise _malformed("a sampled token is not among the ids that truncation kept for it")
        return found_sets

    @classmethod
    def joined(cls, parts: Sequence[KeptSets]) -> KeptSets:
        """Return the sets of several rows, one after the other."""
        return cls(torch.cat([part.ids for part in parts]), torch.cat([part.counts for part in parts]))

    def to(self, device: torch.device | str) -> KeptSets:
        """Return them on a device."""
        return KeptSets(self.ids.to(device), self.counts.to(device))

    def sets(self) -> tuple[tuple[int, ...], ...]:
        """Return them as a `Generation` has them."""
        return tuple(tuple(part.tolist()) for part in torch.split(self.ids, self.counts.tolist()))

    def hold(self, tokens: Tensor) -> bool:
        """Tell whether each set holds its token of ``[N]``."""
        same = self.ids == tokens.repeat_interleave(self.counts)
        owner = torch.arange(len(tokens)).repeat_interleave(self.counts)
        return bool(torch.zeros(len(tokens), dtype=torch.long).index_add(0, owner, same.long()).bool().all())

    def padded(self, rows: slice) -> tuple[Tensor, Tensor]:
        """Return the ids of some tokens' sets, ``[C, K]`` int64, and which of them are no padding, ``[C, K]`` bool."""
        counts = self.counts[rows]
        places = torch.arange(int(counts.max()), device=counts.device)
        valid = places < counts[:, None]
        ids = torch.zeros(valid.shape, dtype=torch.long, device=counts.device)
        ids[valid] = self.ids[self._starts[rows.start] : self._starts[rows.stop]].long()
        return ids, valid

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *self.counts.long().cumsum(0).tolist()]


def _malformed(found: str) -> EngineError:
    return EngineError(
        f"sampling has keep_mask, and the engine's generation is malformed: {found}",
        fix="use an engine that records what truncation kept, such as transformers, or top_p: 1 without keep_mask",
    )
