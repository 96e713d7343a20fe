"""What this distribution registers. Imported by discovery, so it imports nothing heavy."""

from __future__ import annotations

from collegium import Component, component, hookimpl


@hookimpl
def register_stages() -> list[Component]:
    """Offer the stage."""
    return [
        component(
            "ppo",
            "collegium_ppo.stage:PpoStage",
            "Reinforcement learning with a value function and a KL penalty in the reward of every token.",
            config="collegium_ppo.config:PpoConfig",
        )
    ]
