"""What this distribution registers. Imported by discovery, so it imports nothing heavy."""

from __future__ import annotations

from collegium import Component, component, hookimpl


@hookimpl
def register_stages() -> list[Component]:
    """Offer the stage."""
    return [
        component(
            "reward-model",
            "collegium_reward_model.stage:RewardModelStage",
            "A reward model trained on pairs or rankings of completions.",
            config="collegium_reward_model.configs:RewardModelConfig",
        )
    ]


@hookimpl
def register_rewards() -> list[Component]:
    """Offer the reward source."""
    return [
        component(
            "reward-model",
            "collegium_reward_model.reward:RewardModelReward",
            "Scores of one trained reward model, or of two of which the one for safety goes first.",
            config="collegium_reward_model.configs:RewardModelRewardConfig",
        )
    ]
