"""Options of the stage `grpo` (light: no torch)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from collegium import Use, UseAdvantage, UseLoss, UseReward
from collegium.kinds.stage import Edge
from collegium.training.rollout_config import RolloutConfig


class GrpoConfig(RolloutConfig):
    """Reinforcement learning with group-relative advantages."""

    accepts: ClassVar[frozenset[Edge]] = frozenset({"reference"})

    reward: UseReward = Use(use="collegium/domain-verifier")
    """What scores the rollouts."""
    advantages: list[UseAdvantage] = Field(default=[Use(use="collegium-grpo/outcome")], min_length=1)
    """The terms that are summed; the options of `outcome` hold the overlong penalty."""
    loss: UseLoss = Use(use="collegium-grpo/clipped")
    """The surrogate, with its KL penalty and engine corrections."""
    refresh_reference_every: int = Field(default=0, ge=0)
    """Steps after which the KL reference becomes the policy; 0 keeps the first one."""
