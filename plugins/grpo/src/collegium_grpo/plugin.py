"""What this distribution registers. Imported by discovery, so it imports nothing heavy."""

from __future__ import annotations

from collegium import Component, component, hookimpl


@hookimpl
def register_stages() -> list[Component]:
    """Offer the stage."""
    return [
        component(
            "grpo",
            "collegium_grpo.stage:GrpoStage",
            "Reinforcement learning from verifiable rewards, each completion compared with others of its prompt.",
            config="collegium_grpo.stage_config:GrpoConfig",
        )
    ]


@hookimpl
def register_advantages() -> list[Component]:
    """Offer the advantage terms."""
    return [
        component(
            "outcome",
            "collegium_grpo.advantage:Outcome",
            "Reward less the mean of the prompt's other completions.",
            config="collegium_grpo.config:OutcomeConfig",
        ),
        component(
            "kl",
            "collegium_grpo.advantage:KlPenalty",
            "Minus the log-ratio to a reference: the KL penalty, in the reward.",
            config="collegium_grpo.config:KlPenaltyConfig",
        ),
    ]


@hookimpl
def register_losses() -> list[Component]:
    """Offer the losses."""
    return [
        component(
            "clipped",
            "collegium_grpo.loss:ClippedLoss",
            "Clipped ratio times advantage (GRPO, DAPO, GSPO), with engine correction and KL penalty.",
            config="collegium_grpo.config:ClippedConfig",
        ),
        component(
            "cispo",
            "collegium_grpo.loss:CispoLoss",
            "Clipped ratio as a constant weight of the policy gradient: no token loses its gradient.",
            config="collegium_grpo.config:CispoConfig",
        ),
        component(
            "double-sided",
            "collegium_grpo.double_sided:DoubleSidedLoss",
            "Ratio to the engine's own log-probs, tokens outside a range left out (GLM-5's agentic RL).",
            config="collegium_grpo.config:DoubleSidedConfig",
        ),
        component(
            "windowed",
            "collegium_grpo.windowed:WindowedLoss",
            "Ratio times advantage inside a window of log-ratios, whatever the advantage's sign (Kimi K2.5).",
            config="collegium_grpo.config:WindowedConfig",
        ),
    ]


@hookimpl
def register_samplers() -> list[Component]:
    """Offer the samplers."""
    return [
        component(
            "dynamic",
            "collegium_grpo.samplers:Dynamic",
            "Drop prompts whose completions are all alike, so that every group kept has a gradient.",
        ),
        component(
            "pass-rate",
            "collegium_grpo.samplers:PassRate",
            "Keep prompts whose share of correct completions lies in a window (MAI-Thinking-1).",
        ),
    ]
