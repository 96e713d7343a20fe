"""The 25 instruction types of IFEval, one module per group, and further ones; importing this registers them."""

from collegium_verifier_instructions.constraints import (
    case,
    combination,
    content,
    extra_layout,
    extra_words,
    keywords,
    language,
    layout,
    length,
    punctuation,
    startend,
)

__all__ = [
    "case",
    "combination",
    "content",
    "extra_layout",
    "extra_words",
    "keywords",
    "language",
    "layout",
    "length",
    "punctuation",
    "startend",
]
