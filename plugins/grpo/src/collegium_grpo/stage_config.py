"""Options of the stage `grpo` (light: no torch)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, model_validator

from collegium import ConfigError, Use, UseAdvantage, UseLoss, UseReward
from collegium.kinds.stage import Edge
from collegium.training.rollout_config import RolloutConfig
from collegium_grpo.config import OWNER

CORRECTIONS = {"clipped": "importance: tis", "cispo": "importance: tis", "windowed": "anchor: behaviour"}
"""Each of our losses, and the option that lets it correct for who sampled."""


class GrpoConfig(RolloutConfig):
    """Reinforcement learning with group-relative advantages."""

    accepts: ClassVar[frozenset[Edge]] = RolloutConfig.accepts | frozenset({"reference"})

    reward: UseReward = Use(use="collegium/domain-verifier")
    """What scores the rollouts."""
    advantages: list[UseAdvantage] = Field(default=[Use(use="collegium-grpo/outcome")], min_length=1)
    """The terms that are summed; the options of `outcome` hold the overlong penalty."""
    loss: UseLoss = Use(use="collegium-grpo/clipped")
    """The surrogate, with its KL penalty and engine corrections."""
    refresh_reference_every: int = Field(default=0, ge=0)
    """Steps after which the KL reference becomes the policy; 0 keeps the first one."""

    @model_validator(mode="after")
    def _stale_rollouts_are_corrected(self) -> GrpoConfig:
        """Refuse stale rollouts for our own losses at plan time; the core looks at every loss when the stage starts."""
        owner, _, name = self.loss.use.rpartition("/")
        options = self.loss.options
        corrected = options.get("importance", "none") != "none" or options.get("anchor") == "behaviour"
        if self.staleness and owner in ("", OWNER) and name in CORRECTIONS and not corrected:
            raise ConfigError(
                f"staleness {self.staleness} lets older weights sample, and the loss {name!r} corrects nothing",
                fix=f"set loss: {{use: {name}, {CORRECTIONS[name]}}}, or staleness: 0",
                owner=OWNER,
            )
        return self
