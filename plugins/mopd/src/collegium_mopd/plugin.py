"""What this distribution registers. Imported by discovery, so it imports nothing heavy."""

from __future__ import annotations

from collegium import Component, component, hookimpl


@hookimpl
def register_stages() -> list[Component]:
    """Offer the stage."""
    return [
        component(
            "mopd",
            "collegium_mopd.stage:MopdStage",
            "Multi-teacher on-policy distillation: the student's own completions, scored by each domain's teacher.",
            config="collegium_mopd.stage_config:MopdConfig",
        )
    ]


@hookimpl
def register_advantages() -> list[Component]:
    """Offer the advantage term."""
    return [
        component(
            "distill",
            "collegium_mopd.advantage:Distill",
            "Log-ratio of the teacher to the student at every sampled token.",
            config="collegium_mopd.config:DistillConfig",
        )
    ]


@hookimpl
def register_losses() -> list[Component]:
    """Offer the losses."""
    return [
        component(
            "sampled-token",
            "collegium_mopd.loss:SampledToken",
            "Policy gradient at the sampled tokens, masked where student and engine disagree.",
            config="collegium_mopd.config:SampledTokenConfig",
        ),
        component(
            "reverse-kl",
            "collegium_mopd.loss:ReverseKl",
            "Exact reverse KL to the teacher over the whole vocabulary, in chunks.",
            config="collegium_mopd.config:ReverseKlConfig",
        ),
        component(
            "top-k",
            "collegium_mopd.loss:TopK",
            "Reverse KL on the teacher's top k tokens, corrected so that its minimum is the teacher.",
            config="collegium_mopd.config:TopKConfig",
        ),
    ]


@hookimpl
def register_routers() -> list[Component]:
    """Offer the routers."""
    return [
        component("by-domain", "collegium_mopd.routers:ByDomain", "The teacher named like the sample's domain."),
        component(
            "by-field",
            "collegium_mopd.routers:ByField",
            "The teacher of the task's mode, domain or both, by its value.",
        ),
        component("by-task-field", "collegium_mopd.routers:ByTaskField", "The teacher that the task's data names."),
    ]


@hookimpl
def register_weighters() -> list[Component]:
    """Offer the weighters."""
    return [
        component("uniform", "collegium_mopd.weighters:Uniform", "Every sequence counts alike."),
        component(
            "balanced", "collegium_mopd.weighters:Balanced", "Every domain has its target share of the gradient."
        ),
    ]
