"""Entry point: what this distribution offers."""

from __future__ import annotations

from collections.abc import Sequence

from collegium import Component, component, hookimpl

collegium_api = 1


@hookimpl
def register_stages() -> Sequence[Component]:
    """Offer the stage `lm-eval`."""
    return [
        component(
            "lm-eval",
            "collegium_lm_eval.stage:LmEvalStage",
            "Scores of a model on lm-evaluation-harness tasks with local data.",
            config="collegium_lm_eval.config:LmEvalConfig",
        )
    ]
