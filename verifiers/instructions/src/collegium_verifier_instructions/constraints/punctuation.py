"""Punctuation."""

from __future__ import annotations

from collegium_verifier_instructions.registry import constraint


@constraint("punctuation:no_comma")
def no_comma(text: str) -> bool:
    """No comma occurs."""
    return "," not in text
