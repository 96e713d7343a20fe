"""What this distribution offers."""

from __future__ import annotations

from collections.abc import Sequence

from collegium import Component, component, hookimpl


@hookimpl
def register_stages() -> Sequence[Component]:
    """Offer the supervised stages."""
    return [
        component(
            "pretrain",
            "collegium_sft.pretrain:PretrainStage",
            "Next-token prediction on raw text, from scratch or from a model.",
            config="collegium_sft.configs:PretrainConfig",
        ),
        component(
            "sft",
            "collegium_sft.sft:SftStage",
            "Fine-tuning on the completions of demonstrations.",
            config="collegium_sft.configs:SftConfig",
        ),
    ]
