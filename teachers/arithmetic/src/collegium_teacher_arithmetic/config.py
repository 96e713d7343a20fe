"""Options of the task source `arithmetic`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from collegium import Config
from collegium_teacher_arithmetic.modes import FORMS, Mode

SIGNS = {"add": "+", "subtract": "-", "multiply": "*"}
"""The operations' signs."""


class ArithmeticConfig(Config):
    """Options of the task source `arithmetic`."""

    data: str = "auto"
    """``auto`` (GSM8K where it is found, else generated), ``generated``, or a folder with GSM8K's two files."""
    seed: int = 0
    """Seed of the generator and of the demonstrations' quality."""
    train: int = Field(default=4000, ge=1, le=20_000)
    """Distinct training expressions to generate; what GSM8K has is taken whole."""
    heldout: int = Field(default=280, ge=1, le=4_000)
    """Distinct held-out expressions to generate; what GSM8K has is taken whole."""
    repeats: int = Field(default=2, ge=1)
    """Demonstrations of each training expression that tells the two procedures apart; the others have one."""
    right_share: float = Field(default=0.35, ge=0, le=1)
    """Share of right demonstrations among the expressions that tell the two procedures apart, in [0, 1]."""
    operations: tuple[Literal["add", "subtract", "multiply"], ...] = Field(default=("add", "subtract"), min_length=1)
    """Which calculations; ``multiply`` is by one digit."""
    digits: int = Field(default=3, ge=1, le=3)
    """Most digits of an operand."""
    heldout_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of GSM8K's training expressions to hold out as well, for operations that its test file has few of."""
    modes: tuple[Mode, ...] = Field(default=("plain",), min_length=1)
    """How to answer: one or more of ``plain``, ``none``, ``think``, ``high``, ``max``, ``non-think``."""
    mixed_language: float | None = Field(default=None, ge=0, le=1)
    """Write a word before each column, in `texts` this share of them in Cyrillic; None writes no words."""
    mixed_demonstrations: float = Field(default=0.0, ge=0, le=1)
    """The same share in the demonstrations, where there are words."""

    @model_validator(mode="after")
    def _tells_modes_apart(self) -> ArithmeticConfig:
        prefixes = [FORMS[mode].prefix for mode in self.modes]
        if len(set(prefixes)) < len(prefixes):
            raise ValueError(f"modes {list(self.modes)} do not have prompts of their own: {prefixes}")
        if "non-think" in self.modes and set(self.operations) == {"multiply"}:
            raise ValueError("mode non-think has no multiplications; add an operation")
        return self
