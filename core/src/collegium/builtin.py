"""The core's own plugin: its components register through the same hooks as everybody's."""

from __future__ import annotations

from collegium.component import Component, component
from collegium.hookspecs import hookimpl

PACKAGE = "collegium.builtin_components"


@hookimpl
def register_engines() -> list[Component]:
    """Offer generation with `transformers`, in process."""
    return [
        component(
            "transformers",
            f"{PACKAGE}.engine:TransformersEngine",
            "Generate in process with transformers, behaviour log-probs recorded at sampling.",
            config=f"{PACKAGE}.configs:TransformersEngineConfig",
        )
    ]


@hookimpl
def register_samplers() -> list[Component]:
    """Offer the samplers that every recipe may need."""
    return [
        component(
            "shuffled",
            f"{PACKAGE}.samplers:ShuffledSampler",
            "Shuffle all tasks together, epoch by epoch, without replacement.",
            config=f"{PACKAGE}.configs:ShuffledConfig",
        ),
        component(
            "stratified",
            f"{PACKAGE}.samplers:StratifiedSampler",
            "Give every domain its share of each step's prompts.",
            config=f"{PACKAGE}.configs:StratifiedConfig",
        ),
    ]


@hookimpl
def register_teachers() -> list[Component]:
    """Offer a teacher from a checkpoint."""
    return [
        component(
            "checkpoint",
            f"{PACKAGE}.teacher:CheckpointTeacher",
            "A model folder or hub name, scored in process.",
            config=f"{PACKAGE}.configs:CheckpointTeacherConfig",
        )
    ]


@hookimpl
def register_rewards() -> list[Component]:
    """Offer the domain's own verifier as reward."""
    return [
        component(
            "domain-verifier",
            f"{PACKAGE}.reward:DomainVerifierReward",
            "Judge each sample by its own domain's verifier.",
            config=f"{PACKAGE}.configs:DomainVerifierConfig",
        )
    ]


@hookimpl
def register_executors() -> list[Component]:
    """Offer execution in this process, or in worker processes of this machine."""
    return [
        component("in-process", f"{PACKAGE}.executors:InProcessExecutor", "One stage after another, in this process."),
        component("local", f"{PACKAGE}.executors:LocalExecutor", "Worker processes on this machine, side by side."),
    ]


@hookimpl
def register_stages() -> list[Component]:
    """Offer the audit of a verifier as a stage."""
    return [
        component(
            "audit",
            f"{PACKAGE}.audit:AuditStage",
            "Measure a verifier on labelled cases; stop the run if it is worse than the recipe allows.",
            config=f"{PACKAGE}.audit_config:AuditConfig",
        )
    ]
