"""The advantage terms `outcome` and `kl`.

Sources: GRPO (DeepSeek-R1), Dr. GRPO, DAPO; the KL penalty in the reward: InstructGPT (arXiv 2203.02155).

Shapes: ``B`` sequences, ``T`` tokens.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from collegium import Advantage
from collegium.training.batch import RolloutBatch
from collegium.training.divergence import k1
from collegium.training.outcome import group_relative
from collegium.training.streams import require
from collegium_grpo.config import KlPenaltyConfig, OutcomeConfig
from collegium_grpo.shaping import overlong_penalty


class Outcome(Advantage):
    """Every token of a completion gets its reward less the mean of its group.

    A completion without a score (its verifier abstained or failed) is in no mean and gets 0; which ones these are says
    the valid mask of `collegium.training.outcome.group_relative`.
    """

    Config = OutcomeConfig

    def per_token(self, batch: RolloutBatch) -> Tensor:
        """Return the term, ``[B, T]``."""
        rewards, overlong = batch.rewards, self.config.overlong
        if self.config.missing_eos is not None:
            rewards = torch.where(batch.truncated & ~rewards.isnan(), self.config.missing_eos, rewards)
        if overlong:
            rewards = rewards + overlong_penalty(batch.completion_lengths, overlong.limit, overlong.buffer)
        advantage, _ = group_relative(rewards, batch.groups, std=self.config.std)
        return advantage[:, None] * batch.completion_mask


class KlPenalty(Advantage):
    """``-coefficient (log old - log reference)`` at every token: k1, whose gradient is right in the reward.

    Each token answers for its own log-ratio only, not for those of the tokens after it.
    """

    Config = KlPenaltyConfig
    needs: ClassVar[frozenset[str]] = frozenset({"old", "reference"})

    def per_token(self, batch: RolloutBatch) -> Tensor:
        """Return the term, ``[B, T]``."""
        log_ratio = k1(require(batch, "old", "advantage kl"), require(batch, "reference", "advantage kl"))
        return torch.where(batch.completion_mask, -self.config.coefficient * log_ratio, 0.0)
