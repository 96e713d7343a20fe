"""How the response starts and ends."""

from __future__ import annotations

from collegium_verifier_instructions.registry import constraint


@constraint("startend:end_checker")
def end_checker(text: str, end_phrase: str) -> bool:
    """The response ends with the phrase, up to case and closing quotation marks."""
    return text.strip().strip('"').lower().endswith(end_phrase.strip().lower())


@constraint("startend:quotation")
def quotation(text: str) -> bool:
    """The whole response stands in double quotation marks."""
    text = text.strip()
    return len(text) > 1 and text[0] == text[-1] == '"'
