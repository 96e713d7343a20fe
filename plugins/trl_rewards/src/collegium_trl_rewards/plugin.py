"""Entry point: what this distribution offers."""

from __future__ import annotations

from collections.abc import Sequence

from collegium import Component, component, hookimpl

collegium_api = 1


@hookimpl
def register_rewards() -> Sequence[Component]:
    """Offer the `trl-function` reward source."""
    return [
        component(
            "trl-function",
            "collegium_trl_rewards.reward:TrlFunctionReward",
            "Reward functions in TRL's signature, sync or async, summed with weights.",
            config="collegium_trl_rewards.config:TrlFunctionConfig",
        )
    ]
