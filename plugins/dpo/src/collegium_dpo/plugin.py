"""What this distribution offers."""

from __future__ import annotations

from collections.abc import Sequence

from collegium import Component, component, hookimpl


@hookimpl
def register_stages() -> Sequence[Component]:
    """Offer the stage."""
    return [
        component(
            "dpo",
            "collegium_dpo.stage:DpoStage",
            "Preference training on pairs: DPO, IPO, KTO, ORPO or SimPO.",
            config="collegium_dpo.config:DpoConfig",
        )
    ]
