"""Options of the stage `mopd` (light: no torch)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from collegium import Use, UseAdvantage, UseLoss, UseReward, UseRouter, UseSampler, UseWeighter
from collegium.kinds.stage import Edge
from collegium.training.rollout_config import RolloutConfig, check_plain


class MopdConfig(RolloutConfig):
    """Multi-teacher on-policy distillation."""

    requires: ClassVar[frozenset[Edge]] = frozenset({"init_from", "teachers"})

    prompts: int = Field(default=128, ge=1)
    """Prompts of a batch."""
    group: int = Field(default=1, ge=1)
    """Completions of each prompt; an outcome term needs at least 2."""
    sampler: UseSampler = Use(use="collegium/stratified")
    """Which prompts; by default every domain has an equal share."""
    aggregation: Literal["sequence-mean", "token-mean", "constant"] = "sequence-mean"
    """From per-token losses to one number; the default keeps long domains from dominating."""
    router: UseRouter = Use(use="collegium-mopd/by-domain")
    """Which teacher scores a sample."""
    weighter: UseWeighter = Use(use="collegium-mopd/balanced")
    """What each sequence counts."""
    loss: UseLoss = Use(use="collegium-mopd/reverse-kl")
    """Exact reverse KL, or a surrogate on sampled tokens or on the teacher's top tokens."""
    advantages: list[UseAdvantage] = Field(default=[Use(use="collegium-mopd/distill")])
    """The terms that are summed, for a loss that reads an advantage."""
    outcome_weight: float = Field(default=0.0, ge=0)
    """Weight of the group-relative reward beside the distillation term (alpha in MiMo-V2-Flash, Eq. 9)."""
    reward: UseReward = Use(use="collegium/domain-verifier")
    """What scores the rollouts, where `outcome_weight` is positive."""

    @model_validator(mode="after")
    def _compares_plain_distributions(self) -> MopdConfig:
        check_plain(self.sampling)
        return self

    def judges(self) -> bool:
        """Only an outcome term asks verifiers."""
        return self.outcome_weight > 0
