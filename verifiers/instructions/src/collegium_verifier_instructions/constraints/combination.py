"""Combined responses."""

from __future__ import annotations

from collegium_verifier_instructions.registry import constraint


@constraint("combination:two_responses")
def two_responses(text: str) -> bool:
    """Two different responses, separated by six asterisks; nothing empty stands between separators."""
    parts = [part.strip() for part in text.split("******")]
    if not all(parts[1:-1]):
        return False
    given = [part for part in parts if part]
    return len(given) == 2 and given[0] != given[1]


@constraint("combination:repeat_prompt")
def repeat_prompt(text: str, prompt_to_repeat: str) -> bool:
    """The response begins with the prompt, up to case."""
    return text.strip().lower().startswith(prompt_to_repeat.strip().lower())
