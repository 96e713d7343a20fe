"""Entry point: what this distribution offers."""

from collections.abc import Sequence

from collegium import Component, component, hookimpl

collegium_api = 1


@hookimpl
def register_verifiers() -> Sequence[Component]:
    """Offer the verifiers of form."""
    return [
        component("format", "collegium_verifier_format.layout:FormatVerifier", "Tags, a pattern, JSON, a proper end."),
        component(
            "length", "collegium_verifier_format.length:LengthVerifier", "Characters, words or tokens in bounds."
        ),
        component(
            "language", "collegium_verifier_format.language:LanguageVerifier", "Letters of the scripts asked for."
        ),
        component(
            "repetition",
            "collegium_verifier_format.repetition:RepetitionVerifier",
            "Repeated n-grams, and an end that goes round in circles.",
        ),
    ]
