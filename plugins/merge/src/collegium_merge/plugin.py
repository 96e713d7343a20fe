"""What this distribution offers."""

from __future__ import annotations

from collections.abc import Sequence

from collegium import Component, component, hookimpl


@hookimpl
def register_stages() -> Sequence[Component]:
    """Offer the stages."""
    return [
        component(
            "merge",
            "collegium_merge.stage:MergeStage",
            "One model from several: average, task arithmetic, TIES or DARE.",
            config="collegium_merge.config:MergeConfig",
        ),
        component(
            "merge-reward-model",
            "collegium_merge.stage:MergeRewardModelStage",
            "One reward model from several.",
            config="collegium_merge.config:MergeRewardModelConfig",
        ),
    ]
