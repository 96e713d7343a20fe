"""What is scored: the distinct token sequences of a batch, and the way back to its rows.

Shapes: ``B`` sequences, ``T`` tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from collegium_teacher_served.failures import Failure

if TYPE_CHECKING:
    from collegium.training.batch import RolloutBatch


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """Tokens to score from `start` on; what comes before is context.

    Args:
        tokens: Token ids, context included.
        start: First position whose log-prob is wanted; at least 1, for nothing predicts the first token.
    """

    tokens: tuple[int, ...]
    start: int

    @property
    def scored(self) -> int:
        """How many log-probs are wanted."""
        return len(self.tokens) - self.start


@dataclass(frozen=True, slots=True)
class Rows:
    """The distinct sequences of a batch, and which of them each row is.

    Args:
        sequences: Each once, from the earliest position that one of its rows trains.
        of_row: Number of the row's sequence; None for a row without trained tokens.
    """

    sequences: list[TokenSequence]
    of_row: list[int | None]

    @classmethod
    def of(cls, batch: RolloutBatch) -> Rows:
        """Cut each row after its last trained token, and join rows that are the same then.

        Raises:
            Failure: If a row's first token is a trained one.
        """
        mask = batch.completion_mask.cpu()
        starts: dict[tuple[int, ...], int] = {}
        keys: list[tuple[int, ...] | None] = []
        for tokens, trained in zip(batch.token_ids.cpu().tolist(), mask, strict=True):
            positions = trained.nonzero().flatten().tolist()
            if not positions:
                keys.append(None)
                continue
            if positions[0] == 0:
                raise Failure("a row's first token is a trained one, which no model can score", fix="give it a prompt")
            key = tuple(tokens[: positions[-1] + 1])
            starts[key] = min(positions[0], starts.get(key, positions[0]))
            keys.append(key)
        number = {key: index for index, key in enumerate(starts)}
        sequences = [TokenSequence(key, start) for key, start in starts.items()]
        return cls(sequences, [None if key is None else number[key] for key in keys])

    def scatter(self, scores: list[list[float]], mask: Tensor) -> Tensor:
        """Lay the sequences' log-probs out as ``[B, T]`` float32, zero outside the mask."""
        laid = torch.zeros(mask.shape)
        for row, number in enumerate(self.of_row):
            if number is not None:
                sequence = self.sequences[number]
                laid[row, sequence.start : len(sequence.tokens)] = torch.tensor(scores[number])
        return torch.where(mask.cpu(), laid, 0.0).to(mask.device)
