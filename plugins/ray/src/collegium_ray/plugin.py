"""Entry point: what this distribution offers."""

from __future__ import annotations

from collections.abc import Sequence

from collegium import Component, component, hookimpl

collegium_api = 1


@hookimpl
def register_executors() -> Sequence[Component]:
    """Offer the executor `ray`."""
    return [
        component(
            "ray",
            "collegium_ray.executor:RayExecutor",
            "Stages as tasks of a Ray cluster, with resources per stage; a lost worker is started again.",
            config="collegium_ray.config:RayConfig",
        )
    ]
