"""Entry point: what this distribution offers."""

from collections.abc import Sequence

from collegium import Component, component, hookimpl

collegium_api = 1

PACKAGE = "collegium_verifier_judge"


@hookimpl
def register_verifiers() -> Sequence[Component]:
    """Offer the verifiers `judge` and `reward-model`."""
    return [
        component(
            "judge",
            f"{PACKAGE}.verifier:JudgeVerifier",
            "A language model judges by a rubric, over an OpenAI-compatible endpoint.",
            config=f"{PACKAGE}.config:JudgeConfig",
        ),
        component(
            "reward-model",
            f"{PACKAGE}.reward_model:RewardModelVerifier",
            "A reward model from a local checkpoint, its raw reward mapped to [0, 1].",
            config=f"{PACKAGE}.reward_config:RewardModelConfig",
        ),
    ]


@hookimpl
def register_rewards() -> Sequence[Component]:
    """Offer the reward source `reward-model-score`."""
    return [
        component(
            "reward-model-score",
            f"{PACKAGE}.reward_model:RewardModelScore",
            "A reward model from a local checkpoint, its raw reward as it is.",
            config=f"{PACKAGE}.reward_config:RewardModelScoreConfig",
        )
    ]
