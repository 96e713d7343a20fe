"""The samplers `dynamic` (DAPO's dynamic sampling) and `pass-rate` (MAI-Thinking-1's window of difficulty).

A sampler says which groups are worth training on; that others are drawn in place of the rest is the core's step loop.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pydantic import Field, model_validator

from collegium import ConfigError
from collegium.builtin_components.configs import StratifiedConfig
from collegium.builtin_components.samplers import StratifiedSampler
from collegium_grpo.config import OWNER


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


class PassRateConfig(StratifiedConfig):
    """Options of the sampler `pass-rate`."""

    low: float = Field(default=0.05, ge=0, le=1)
    """Least share of a prompt's completions that must be correct. MAI-Thinking-1: 0.05."""
    high: float = Field(default=0.8, ge=0, le=1)
    """Greatest share that may be. MAI-Thinking-1: 0.8."""
    pass_at: float = 1.0
    """Reward from which a completion counts as correct."""

    @model_validator(mode="after")
    def _window_is_one(self) -> PassRateConfig:
        if self.low > self.high:
            raise ConfigError(
                f"pass-rate keeps shares from low {self.low:g} to high {self.high:g}, which are none",
                fix="make low at most high, such as 0.05 and 0.8",
                owner=OWNER,
            )
        return self


class PassRate(StratifiedSampler):
    """Draw as `stratified` does, and keep the prompts that are neither too hard nor too easy.

    MAI-Thinking-1 decides after 16 of a prompt's 128 completions; here the whole group is sampled first.
    """

    Config = PassRateConfig

    def keep(self, rewards: Sequence[float]) -> bool:
        """Say whether the share of correct ones among the group's scored samples (not NaN) is in the window."""
        scored = [reward for reward in rewards if not math.isnan(reward)]
        share = sum(reward >= self.config.pass_at for reward in scored) / max(len(scored), 1)
        return bool(scored) and self.config.low <= share <= self.config.high
