"""What this distribution registers. Imported by discovery, so it imports nothing heavy."""

from __future__ import annotations

from collegium import Component, component, hookimpl


@hookimpl
def register_stages() -> list[Component]:
    """Offer the stage."""
    return [
        component(
            "rejection-sampling",
            "collegium_rejection_sampling.stage:RejectionSamplingStage",
            "The best of several completions of each prompt, as demonstrations and as pairs.",
            config="collegium_rejection_sampling.configs:RejectionSamplingConfig",
        )
    ]
