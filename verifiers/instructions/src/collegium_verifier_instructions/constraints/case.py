"""Upper and lower case."""

from __future__ import annotations

from collegium_verifier_instructions.constraints.language import detect
from collegium_verifier_instructions.registry import constraint
from collegium_verifier_instructions.text import Relation, compare, tokens


@constraint("change_case:english_capital")
def english_capital(text: str) -> bool:
    """All letters are capital, and the language is English."""
    return text.isupper() and detect(text) == "en"


@constraint("change_case:english_lowercase")
def english_lowercase(text: str) -> bool:
    """All letters are lower case, and the language is English."""
    return text.islower() and detect(text) == "en"


@constraint("change_case:capital_word_frequency")
def capital_word_frequency(text: str, capital_frequency: int, capital_relation: Relation) -> bool:
    """The number of words in capitals stands in the relation to `capital_frequency`."""
    return compare(sum(token.isupper() for token in tokens(text)), capital_relation, capital_frequency)
