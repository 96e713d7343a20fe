"""Symbolic equality with `math-verify`, to be called in a worker process only: it may hang, recurse or eat memory.

Source: Math-Verify 0.9 (https://github.com/huggingface/Math-Verify). Its own time limits use signals, which work in no
thread but the main one; they are switched off here, and the worker's own limit stands in.
"""

from __future__ import annotations

import logging
import re
from functools import lru_cache
from typing import Any

from latex2sympy2_extended.sets import FiniteSet
from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its signal-based limits are off
logging.getLogger("latex2sympy2_extended").setLevel(logging.ERROR)

_TARGETS = (LatexExtractionConfig(), ExprExtractionConfig())
_DELIMITED = re.compile(r"\$|\\\(|\\\[|\\boxed")
_LIST_COMMA = re.compile(r",\s*(?![^{}]*\})")
_NAME = re.compile(r"^\s*[A-Za-z](?:_\{?\w\}?)?\s*=")
_ASCII_ROOT = re.compile(r"sqrt\(([^()]*)\)")
_ASCII_POWER = re.compile(r"\^\(([^()]*)\)")
_BASE = re.compile(r"\d_\{?(\d+)")
_WORDS = re.compile(r"[^\W\d_][\w\s,.'\-]*")
_TEXT_COMMAND = re.compile(r"\\(?:text|textbf|textit|mathrm|mbox|textnormal)\s*\{([^{}]*)\}")


@lru_cache(maxsize=4096)
def parse_gold(text: str) -> tuple[Any, ...]:
    """Return the gold answer's readings: sympy objects, or nothing if there is none."""
    return parse_answer(text)


def parse_answer(text: str) -> tuple[Any, ...]:
    """Return the readings of an answer as sympy objects; empty if it cannot be parsed."""
    if not _balanced(text):
        return ()
    if _DELIMITED.search(text):
        return _readings(text) or _list_or_signs(text.strip(" $"))
    latex = from_ascii(text)
    return _readings(f"${latex}$") or _readings(text) or _list_or_signs(latex)


def _readings(text: str) -> tuple[Any, ...]:
    return tuple(parse(text, _TARGETS, fallback_mode="no_fallback", parsing_timeout=None))


def _balanced(text: str) -> bool:
    bare = text.replace("\\{", "").replace("\\}", "")
    return bare.count("{") == bare.count("}")


def _list_or_signs(latex: str) -> tuple[Any, ...]:
    r"""Read a list, such as ``x = 1, x = \frac{3 \pm 1}{2}``, part by part; empty unless each part can be read."""
    parts = _LIST_COMMA.split(latex)
    if len(parts) > 32 or "(" in latex or "[" in latex:
        return ()
    readings = [reading for part in parts for reading in _with_both_signs(_NAME.sub("", part))]
    if not all(readings):
        return ()
    values: list[Any] = []
    for reading in readings:
        values.extend(reading[0].args if isinstance(reading[0], FiniteSet) else reading[:1])
    return (FiniteSet(*values),)


def _with_both_signs(latex: str) -> list[tuple[Any, ...]]:
    r"""Read a value once, or once per sign if it has one ``\pm`` (the library reads it only outside of commands)."""
    if latex.count("\\pm") != 1:
        return [_readings(f"${latex}$")]
    return [_readings("$" + latex.replace("\\pm", sign) + "$") for sign in "+-"]


def from_ascii(text: str) -> str:
    """Turn programmers' notation (``2**(1/4)``, ``3*sqrt(5)``) into LaTeX; other text is returned as it is."""
    if "\\" in text or not ("**" in text or "sqrt(" in text):
        return text
    text = _ASCII_ROOT.sub(r"\\sqrt{\1}", text.replace("**", "^"))
    return _ASCII_POWER.sub(r"^{\1}", text)


def words_of(text: str) -> str | None:
    """Return a text answer (a name, "odd", "no solution") in a normal form; None if it is not made of words."""
    bare = _TEXT_COMMAND.sub(r"\1", text).replace("\\ ", " ").strip(" $.()[]")
    if not _WORDS.fullmatch(bare):
        return None
    # A letter or two may be variables or a choice: their case counts.
    return " ".join((bare if len(bare) < 3 else bare.casefold()).split())


def equal(gold: tuple[Any, ...], answer: tuple[Any, ...]) -> bool:
    """Say whether any reading of the answer equals any reading of the gold answer.

    Always the library's strict comparison: the other one takes any two single letters for one another.
    """
    return bool(verify(list(gold), list(answer), strict=True, timeout_seconds=None))


def bases_differ(gold: str, answer: str) -> bool:
    """Say whether both texts write numbers with a base (``52_8``) and the bases differ: the library drops them."""
    expected, found = _BASE.findall(gold), _BASE.findall(answer)
    return bool(expected and found) and expected != found
