"""The 25 instruction types of IFEval, one module per group; importing this registers them."""

from collegium_verifier_instructions.constraints import (
    case,
    combination,
    content,
    keywords,
    language,
    layout,
    length,
    punctuation,
    startend,
)

__all__ = ["case", "combination", "content", "keywords", "language", "layout", "length", "punctuation", "startend"]
