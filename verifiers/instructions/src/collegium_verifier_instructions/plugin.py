"""Entry point: what this distribution offers."""

from collections.abc import Sequence

from collegium import Component, component, hookimpl

collegium_api = 1


@hookimpl
def register_verifiers() -> Sequence[Component]:
    """Offer the `instructions` verifier."""
    return [
        component(
            "instructions",
            "collegium_verifier_instructions.verifier:InstructionsVerifier",
            "Verifiable instructions: IFEval's 25 types, strict or loose, 21 more, and registered ones.",
        )
    ]
