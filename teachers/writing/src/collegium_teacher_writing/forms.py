"""Forms: what a prompt asks of the words' form, how it is written, and the IFEval instruction that checks it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

ALPHABET = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ,:*"\n'
"""Every character of the domain's prompts, completions and texts."""

END = "amen"
"""The phrase that `ending` ends with."""


@dataclass(frozen=True, slots=True)
class Form:
    """One constraint on how words are written.

    Args:
        name: As the prompt says it.
        instruction: IFEval's id.
        write: Give text that is one line of words the form.
        kwargs: IFEval's arguments, from the number of words in all.
        extra_words: Words that the form adds.
    """

    name: str
    instruction: str
    write: Callable[[str], str]
    kwargs: Callable[[int], dict[str, Any]] = lambda _: {}
    extra_words: int = 0


CAPITALS = Form(
    "capitals",
    "change_case:capital_word_frequency",
    str.upper,
    lambda words: {"capital_relation": "at least", "capital_frequency": words},
)
"""Counts words in capitals: IFEval's `english_capital` also guesses the language, which two words do not tell."""
QUOTED = Form("quoted", "startend:quotation", lambda text: f'"{text}"')
ENDING = Form("ending", "startend:end_checker", lambda text: f"{text} {END}", lambda _: {"end_phrase": END}, 1)
BULLETS = Form(
    "bullets",
    "detectable_format:number_bullet_lists",
    lambda text: "* " + text.replace(" ", "\n* "),
    lambda words: {"num_bullets": words},
)

COMBINATIONS: tuple[tuple[Form, ...], ...] = (
    (CAPITALS,),
    (QUOTED,),
    (ENDING,),
    (BULLETS,),
    (CAPITALS, QUOTED),
    (CAPITALS, BULLETS),
    (ENDING, CAPITALS),
)
"""What a task may ask for, in the order in which the forms are given to the text."""


Name = Literal[
    "capitals", "quoted", "ending", "bullets", "capitals+quoted", "capitals+bullets", "ending+capitals"
]  # fmt: skip
"""A combination by its forms' names."""
NAMES: tuple[Name, ...] = get_args(Name)
"""The names of `COMBINATIONS`, in that order."""


def combination(name: Name) -> tuple[Form, ...]:
    """Return the combination of that name."""
    return next(forms for forms in COMBINATIONS if "+".join(form.name for form in forms) == name)


def write(words: Sequence[str], forms: Sequence[Form]) -> str:
    """Write the words, one after the other, in the forms."""
    text = " ".join(words)
    for form in forms:
        text = form.write(text)
    return text


def instructions(words: Sequence[str], forms: Sequence[Form]) -> dict[str, Any]:
    """Return the task data that an IFEval verifier reads: the words, in order and alone, and the forms.

    Two bounds make the number of words exact: one word more or less, or two run together, is wrong. Capitals that are
    not asked for are forbidden, so that writing them always does not pay.
    """
    total = len(words) + sum(form.extra_words for form in forms)
    checks: list[tuple[str, dict[str, Any]]] = [
        ("keywords:existence", {"keywords": list(words)}),
        ("length_constraints:number_words", {"relation": "at least", "num_words": total}),
        ("length_constraints:number_words", {"relation": "less than", "num_words": total + 1}),
        ("startend:end_checker", {"end_phrase": _ending_of(words, forms)}),
        *((form.instruction, form.kwargs(total)) for form in forms),
    ]
    if CAPITALS not in forms:
        checks.append((CAPITALS.instruction, {"capital_relation": "less than", "capital_frequency": 1}))
    return {"instruction_id_list": [name for name, _ in checks], "kwargs": [kwargs for _, kwargs in checks]}


def _ending_of(words: Sequence[str], forms: Sequence[Form]) -> str:
    """Return the right text from its first word on: IFEval compares ends up to case and quotation marks.

    Nothing but the order of the words needs it: keywords may stand in any.
    """
    return write(words, forms).strip('*" ').lower()
