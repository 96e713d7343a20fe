"""The environment `calculator`: a turn that calls for the value of an expression gets it."""

from __future__ import annotations

import math

from pydantic import Field

from collegium import Environment, EnvironmentConfig, Episode, Task
from collegium.kinds.environment import call_of
from collegium_verifier_tools.arithmetic import value_of

ERROR = "error"
"""The reply to an expression that has no value."""
LARGEST_WHOLE = 2**53
"""Whole numbers up to this are exact."""


class CalculatorConfig(EnvironmentConfig):
    """Options of the environment `calculator`."""

    call: str = Field(default="calc ", min_length=1)
    """What begins a turn's last line that is a call; the expression follows."""
    suffix: str = "\n"
    """What stands after each reply."""


class Calculator(Environment):
    """Reply to ``calc 47*86`` with ``4042``; a turn that calls nothing ends the episode.

    Expressions are numbers, ``+ - * /`` and parentheses; anything else gets ``error``. It computes in double
    precision, as pocket calculators do: whole numbers are exact up to 2^53.
    """

    Config = CalculatorConfig

    def open(self, task: Task) -> Episode:  # it computes the same for every task
        """Begin an episode."""
        return _Calculation(self.config.call)


class _Calculation(Episode):
    def __init__(self, mark: str) -> None:
        self.mark = mark

    def reply(self, text: str) -> str | None:
        """Return an expression's value."""
        expression = call_of(text, self.mark)
        return None if expression is None else calculate(expression)


def calculate(expression: str) -> str:
    """Return an expression's value as text: whole numbers as such, others with ten digits; ``error`` if it has none."""
    try:
        value = value_of(expression)
    except ValueError:
        return ERROR
    if not math.isfinite(value):
        return ERROR
    return str(int(value)) if value.is_integer() and abs(value) <= LARGEST_WHOLE else f"{value:.10g}"
