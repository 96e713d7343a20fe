"""The entry point: what this distribution offers, named lazily."""

from __future__ import annotations

from collections.abc import Sequence

from collegium import component, hookimpl
from collegium.component import Component


@hookimpl
def register_verifiers() -> Sequence[Component]:
    """Offer the `code` verifier."""
    return [
        component("code", "collegium_verifier_code.verifier:CodeVerifier", "Python run against tests in a sandbox.")
    ]


@hookimpl
def register_environments() -> Sequence[Component]:
    """Offer the environment `python`."""
    return [
        component("python", "collegium_verifier_code.environment:PythonSandbox", "A turn's Python, run in a sandbox.")
    ]
