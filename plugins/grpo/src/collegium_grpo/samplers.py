"""The sampler `dynamic`: DAPO's dynamic sampling.

It says which groups are worth training on; that others are drawn in place of the rest is the core's step loop.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import Field

from collegium.builtin_components.configs import StratifiedConfig
from collegium.builtin_components.samplers import StratifiedSampler


class DynamicConfig(StratifiedConfig):
    """Options of the sampler `dynamic`."""

    spread: float = Field(default=1e-6, ge=0)
    """Rewards that differ by no more than this are alike."""


class Dynamic(StratifiedSampler):
    """Draw as `stratified` does, and keep the groups whose rewards differ: others have no outcome advantage."""

    Config = DynamicConfig

    def keep(self, rewards: Sequence[float]) -> bool:
        """Say whether the group's scored samples (not NaN) differ in reward."""
        scored = [reward for reward in rewards if not math.isnan(reward)]
        return bool(scored) and max(scored) - min(scored) > self.config.spread
