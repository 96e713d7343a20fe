"""What this distribution registers. Imported by discovery, so it imports nothing heavy."""

from __future__ import annotations

from collegium import Component, component, hookimpl

PACKAGE = "collegium_rewards"


@hookimpl
def register_rewards() -> list[Component]:
    """Offer the reward sources."""
    return [
        component(
            "composed",
            f"{PACKAGE}.composed:ComposedReward",
            "Verifiers and reward sources as one: weighted, gated, piecewise, multiplied, by domain and by step.",
            config=f"{PACKAGE}.composed_config:ComposedConfig",
        ),
        component(
            "rubric",
            f"{PACKAGE}.rubric:RubricReward",
            "The weighted share of a task's own criteria that are met, by a verifier, a judge or a pattern.",
            config=f"{PACKAGE}.configs:RubricConfig",
        ),
        component(
            "toggle-length",
            f"{PACKAGE}.toggle:ToggleLength",
            "Kimi K2.5's Toggle: every other phase a reward counts only within the problem's token budget.",
            config=f"{PACKAGE}.configs:ToggleConfig",
        ),
        component(
            "length-cost",
            f"{PACKAGE}.length_cost:LengthCost",
            "A reward less a cost of length that grows with how easy the problem is (MAI-Thinking-1).",
            config=f"{PACKAGE}.configs:LengthCostConfig",
        ),
        component(
            "length-penalty",
            f"{PACKAGE}.length_penalty:LengthPenalty",
            "What a completion's length costs, for all tasks or by their mode (DeepSeek-V4's efforts).",
            config=f"{PACKAGE}.configs:LengthPenaltyConfig",
        ),
        component(
            "foreign-words",
            f"{PACKAGE}.foreign_words:ForeignWords",
            "One, less a penalty for each word in another script (MAI-Thinking-1).",
            config=f"{PACKAGE}.configs:ForeignWordsConfig",
        ),
    ]


@hookimpl
def register_losses() -> list[Component]:
    """Offer the loss."""
    return [
        component(
            "adaptive-entropy",
            f"{PACKAGE}.adaptive_entropy:AdaptiveEntropyLoss",
            "A clipped surrogate whose upper clip holds the policy's entropy at a target (MAI-Thinking-1).",
            config=f"{PACKAGE}.configs:AdaptiveEntropyConfig",
        )
    ]


@hookimpl
def register_engines() -> list[Component]:
    """Offer the engine."""
    return [
        component(
            "length-curriculum",
            f"{PACKAGE}.curriculum:LengthCurriculum",
            "Another engine, with a token limit that grows with the steps (MAI-Thinking-1).",
            config=f"{PACKAGE}.configs:CurriculumConfig",
        )
    ]
