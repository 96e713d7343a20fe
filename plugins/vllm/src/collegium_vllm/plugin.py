"""Entry point: what this distribution offers."""

from __future__ import annotations

from collections.abc import Sequence

from collegium import Component, component, hookimpl

collegium_api = 1


@hookimpl
def register_engines() -> Sequence[Component]:
    """Offer the engines `vllm` and `vllm-server`."""
    return [
        component(
            "vllm",
            "collegium_vllm.local:VllmEngine",
            "vLLM in the stage's own process, its weights updated in place and checked.",
            config="collegium_vllm.config:VllmConfig",
        ),
        component(
            "vllm-server",
            "collegium_vllm.served:VllmServerEngine",
            "A vLLM server, started by the stage or attached by URL, its weights updated in place and checked.",
            config="collegium_vllm.config:VllmServerConfig",
        ),
    ]
