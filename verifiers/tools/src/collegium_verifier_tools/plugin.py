"""Entry point: what this distribution offers."""

from collections.abc import Sequence

from collegium import Component, component, hookimpl

collegium_api = 1


@hookimpl
def register_verifiers() -> Sequence[Component]:
    """Offer the `function-call` verifier."""
    target = "collegium_verifier_tools.verifier:FunctionCallVerifier"
    return [component("function-call", target, "Function calls, matched with the allowed values of each argument.")]
