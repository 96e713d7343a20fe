"""What keeps an answer from being one, whatever its value: work left to do, a second number, several offers."""

from __future__ import annotations

import re
from fractions import Fraction

from collegium_verifier_math.plain_number import is_scientific, is_unevaluated, plain_number

_FUNCTION = re.compile(
    r"\\(?:sum|prod|int|lim|[dt]?binom|min|max|gcd|lcm|log|ln|exp|sin|cos|tan|cot|det)(?![A-Za-z])|[\d)}]\s*!"
)
_OPERATION = re.compile(r"[\d.)}]\s*(?:[-+\u2212*]|\\(?:times|cdot|div|pm|mp)(?![A-Za-z]))\s*(?:[\d(]|\\[A-Za-z])")
_OFFERED_LAST = re.compile(r"\d\s*(?:,\s*)?(?:or|maybe|perhaps|possibly)\s+\$?[-+]?[\d.,]+\W*$", re.IGNORECASE)
_OFFER = re.compile(r"\b(?:or|maybe|perhaps|possibly|either)\b", re.IGNORECASE)
_SEVERAL = re.compile(r",|;|\\pm|\\mp|\\cup|\\\{|\bor\b|\band\b")
UNEVALUATED = "the answer is an operation that is not carried out"
LOOKED_AT = 2_000
"""Characters of an answer that are looked at; a longer one is no answer."""


def fault_of_value(answer: str, gold: Fraction) -> str | None:
    """Say why a text is no answer to a question whose answer is one plain number, or None."""
    answer = answer[:LOOKED_AT]
    values = [plain_number(part.strip(" $")) for part in answer.split("=")]
    if len(values) > 1 and any(value not in (None, gold) for value in values):
        return "the equation holds another number"
    if is_scientific(answer):
        return None
    carried_out = len(values) > 1 and values[-1] == gold
    if is_unevaluated(answer) or (not carried_out and (_FUNCTION.search(answer) or _OPERATION.search(answer))):
        return UNEVALUATED
    return None


def offers_several(answer: str, gold: str) -> bool:
    """Say whether an answer leaves a choice ("1 or 2", "2, maybe 1") where the reference is one thing."""
    return bool(_OFFER.search(answer[:LOOKED_AT])) and not _SEVERAL.search(gold) and not _OFFER.search(gold)


def ends_in_an_offer(text: str) -> bool:
    """Say whether a text ends like "it is 1 or 2": no number of it is the answer."""
    return _OFFERED_LAST.search(text) is not None
