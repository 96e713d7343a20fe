"""Entry point: what this distribution offers."""

from __future__ import annotations

from collections.abc import Sequence

from collegium import Component, component, hookimpl

collegium_api = 1


@hookimpl
def register_tasks() -> Sequence[Component]:
    """Offer the task source `environment`."""
    return [
        component(
            "environment",
            "collegium_environments.tasks:EnvironmentTasks",
            "The data set of a single-turn environment of the verifiers library.",
        )
    ]


@hookimpl
def register_verifiers() -> Sequence[Component]:
    """Offer the verifier `environment`."""
    return [
        component(
            "environment",
            "collegium_environments.verifier:EnvironmentVerifier",
            "The rubric of a single-turn environment of the verifiers library.",
        )
    ]
