"""Entry point: what this distribution offers."""

from collections.abc import Sequence

from collegium import Component, component, hookimpl

collegium_api = 1


@hookimpl
def register_verifiers() -> Sequence[Component]:
    """Offer the `math` verifier."""
    return [component("math", "collegium_verifier_math.verifier:MathVerifier", "Mathematical answers, equal in value.")]
