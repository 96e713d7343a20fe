"""The reference's log-probs of every pair, computed once before the first step and kept in the checkpoints.

Shapes: ``P`` pairs, ``C`` sequences of a pair: chosen, rejected and, for KTO, the unrelated completion.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from collegium.training.language_model import LanguageModel
from collegium.training.packing import Example
from collegium_dpo.scores import score_sequences


class ReferenceScores:
    """Summed log-probs under a frozen model, which is in memory only while they are computed.

    Args:
        load: Loads the model.
        sequences: ``C`` columns of ``P`` sequences.
        used: The pairs that the stage will read.
        formatting: ``[F]`` int64 ids that are left out.
        micro_batch: Sequences of one forward pass.
    """

    def __init__(
        self,
        load: Callable[[], LanguageModel],
        sequences: Sequence[Sequence[Example]],
        used: Sequence[int],
        formatting: Tensor,
        micro_batch: int,
    ) -> None:
        self._load = load
        self._sequences = sequences
        self._used = sorted(used, key=lambda index: (len(sequences[0][index].token_ids), index))
        self._formatting = formatting
        self._micro_batch = micro_batch
        self._scores: Tensor | None = None

    def of(self, indices: Sequence[int]) -> Tensor:
        """Return the log-probs of some pairs, ``[len(indices), C]`` float32."""
        if self._scores is None:
            self._scores = self._compute()
        return self._scores[list(indices)]

    @torch.no_grad()
    def _compute(self) -> Tensor:
        model = self._load()
        scores = torch.full((len(self._sequences[0]), len(self._sequences)), math.nan)
        for column, examples in enumerate(self._sequences):
            for start in range(0, len(self._used), self._micro_batch):
                indices = self._used[start : start + self._micro_batch]
                found = score_sequences(model, [examples[index] for index in indices], self._formatting)
                scores[indices, column] = found.logprob.float().cpu()
        return scores

    def state_dict(self) -> dict[str, Any]:
        """Return the log-probs, if they are computed."""
        return {} if self._scores is None else {"scores": self._scores}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self._scores = state.get("scores")
