"""What form an answer must have where the reference is one plain number: one written value, no work left, no offer.

A value is told by its shape and not by what it could be computed to: a computer algebra system would carry out whatever
stands there, the question itself included.
"""

from __future__ import annotations

import re
from fractions import Fraction

from collegium_verifier_math.plain_number import is_unevaluated, plain_number, single_number

UNEVALUATED = "the answer is an operation that is not carried out"
LOOKED_AT = 2_000
"""Characters of an answer that are looked at; a longer one is no answer."""

_NUM = r"(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?|\.\d+)"
_IN_BRACES = rf"(?:\{{\s*[-+]?\s*{_NUM}\s*\}}|\d)"
_FRACTION = rf"(?:\\frac\s*{_IN_BRACES}\s*{_IN_BRACES}|{_NUM}\s*/\s*{_NUM})"
_EXPONENT = r"\^\s*(?:\{\s*[-+]?\d+\s*\}|\d)"
_VALUE = re.compile(
    rf"[-+\u2212]?\s*(?:{_NUM}[eE][-+]?\d+|(?:{_NUM}\s*(?:\\times|\\cdot|[*×·])\s*)?10\s*{_EXPONENT}"
    rf"|\d+\s*{_FRACTION}|{_FRACTION}|{_NUM}?\s*\\sqrt\s*(?:\[\d+\])?\s*{_IN_BRACES}"
    rf"|{_NUM}\\overline\s*\{{\d+\}}|\d+_\s*(?:\{{\d+\}}|\d+)|{_NUM})\s*%?"
)
_DRESS = re.compile(r"\\(?:left|right)(?![A-Za-z])|\\[,;: ]|[$~]|\\\$")
_SQUEEZE = re.compile(r"\\!\s?")
_SIDES = re.compile(r"=|\\approx(?![A-Za-z])")
_TEXT = re.compile(r"\\(?:text|mbox|mathrm|textrm|textbf|mathbf|hbox)\s*\{([^{}]{0,200})\}")
_NAME = re.compile(r"[A-Za-z](?:_\{?\w{1,5}\}?)?")
_WORDS_AFTER = re.compile(r"(?<=[\d}%)\s])\s*(?:[A-Za-z]{2}|(?<=\s)[mgshLa]\b)[A-Za-z .,'/-]{0,100}(?:\^\s*\{?\d\}?)?$")
_WORDS_BEFORE = re.compile(
    r"^(?:(?:therefore|thus|so|about|approximately|exactly|simply|just|only|equal to),?\s+)+", re.I
)
_EXCLUDED = re.compile(r",?\s+(?:and\s+)?not\b")
_ASIDE = re.compile(r"\s*\([^()]{0,300}\)\s*\.?$")
_FUNCTION = re.compile(
    r"\\(?:sum|prod|int|lim|[dt]?binom|min|max|gcd|lcm|log|ln|exp|sin|cos|tan|cot|det|[lr](?:ceil|floor))(?![A-Za-z])"
    r"|[\d)}]\s*!|\\frac\s*\{\s*d\s*\}"
)
_OPERATION = re.compile(r"[\d.)}]\s*(?:[-+\u2212*]|\\(?:times|cdot|div|pm|mp)(?![A-Za-z]))\s*(?:[\d(]|\\[A-Za-z])")
_FORMULA = re.compile(r"\$([^$]{1,400})\$|\\\((.{1,400}?)\\\)|\\\[(.{1,400}?)\\\]", re.DOTALL)
_OFFER = re.compile(
    r"\b(?:or|maybe|perhaps|possibly)\b\W{0,5}(?:(?:maybe|even|it is|else)\W{1,5})?[-+]?[\d\\]", re.IGNORECASE
)
_OFFERED_LAST = re.compile(r"\d\s*(?:,\s*)?(?:or|maybe|perhaps|possibly)\s+\$?[-+]?[\d.,]+\W*$", re.IGNORECASE)
_SEVERAL = re.compile(r",|;|\\pm|\\mp|\\cup|\\\{|\bor\b|\band\b")


def written_value(text: str) -> str | None:
    r"""Return the one value that a text writes (``12``, ``\frac{1}{2}``, ``x = 3``, ``3 \cdot 4 = 12``), or None.

    Words after it and an aside in brackets are left out; of an equation the last side that is a value is taken.
    """
    text = _WORDS_BEFORE.sub("", _EXCLUDED.split(_ASIDE.sub("", text[:LOOKED_AT]), maxsplit=1)[0].strip())
    for part in reversed(_SIDES.split(text)):
        bare = _bare(part)
        if _VALUE.fullmatch(bare):
            return None if "/" in bare and single_number(bare) is None else bare  # "10/2" is a division left to do
        if not _NAME.fullmatch(bare):
            return None
    return None


def _bare(part: str) -> str:
    part = (
        _SQUEEZE.sub("", part.replace("{,}", ","))
        .replace("\\%", "%")
        .replace("\\dfrac", "\\frac")
        .replace("\\tfrac", "\\frac")
    )
    part = re.sub(r"\^\s*\{?\s*\\circ\s*\}?", "", _DRESS.sub(" ", _TEXT.sub(r" \1", part)))
    return _WORDS_AFTER.sub("", _ASIDE.sub("", part.strip()).rstrip(" .")).strip().rstrip(" .")


def holds_another_number(text: str, gold: Fraction) -> bool:
    """Say whether a side of an equation is a plain number that is not the reference."""
    values = [plain_number(_bare(part)) for part in _SIDES.split(text[:LOOKED_AT])]
    return len(values) > 1 and any(value not in (None, gold) for value in values)


def has_work_left(text: str) -> bool:
    """Say whether prose that writes no single value has an operation or a function in it."""
    text = text[:LOOKED_AT]
    return bool(is_unevaluated(text) or _FUNCTION.search(text) or _OPERATION.search(text))


def is_question_or_work(text: str) -> bool:
    """Say whether an unmarked text ends in a question, or in a formula that writes no value: it answers nothing."""
    if text.rstrip(" $*_\"'”)").endswith("?"):
        return True
    formulas = [next(filter(None, found.groups())) for found in _FORMULA.finditer(text)]
    last = formulas[-1] if formulas else text
    if written_value(last) is not None:
        return False
    return has_work_left(last) if formulas else is_unevaluated(text)


def offers_several(answer: str, gold: str) -> bool:
    """Say whether an answer leaves a choice ("1 or 2", "2, maybe 1") where the reference is one thing."""
    found = _OFFER.search(answer[:LOOKED_AT])
    if found is None or _SEVERAL.search(gold):
        return False
    return re.search(r"\bnot\b", answer[: found.start()]) is None


def ends_in_an_offer(text: str) -> bool:
    """Say whether a text ends like "it is 1 or 2": no number of it is the answer."""
    return _OFFERED_LAST.search(text) is not None
