"""The advantage term `distill`: what the teacher thinks of each sampled token.

Source: MiMo-V2-Flash (arXiv 2601.02780), Eq. 8; the clip: MOPD (arXiv 2606.30406). The outcome term of its Eq. 9 is
added by the stage. Discount 0: a token answers for its own log-ratio only. It is never normalised: its sign and scale
mean something.

Shapes: ``B`` sequences, ``T`` tokens.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from collegium import Advantage
from collegium.training.batch import RolloutBatch
from collegium.training.streams import require
from collegium_mopd.config import DistillConfig


class Distill(Advantage):
    """``coefficient * clip(log teacher - log old)``: positive where the teacher likes the token better."""

    Config = DistillConfig
    needs: ClassVar[frozenset[str]] = frozenset({"old", "teacher"})

    def per_token(self, batch: RolloutBatch) -> Tensor:
        """Return the term, ``[B, T]``."""
        teacher, old = require(batch, "teacher", "advantage distill"), require(batch, "old", "advantage distill")
        coefficient, clip = self.config.coefficient, self.config.clip
        return distill(teacher, old, batch.completion_mask, coefficient=coefficient, clip=clip)


def distill(teacher: Tensor, old: Tensor, mask: Tensor, *, coefficient: float, clip: float) -> Tensor:
    """Return `coefficient` times the clipped log-ratio of teacher to student, ``[B, T]``, without gradient.

    It is zero outside the mask. A teacher that gives a token no probability (minus infinity) counts as ``-clip``.
    """
    return torch.where(mask, coefficient * (teacher - old).detach().clamp(-clip, clip), 0.0)
