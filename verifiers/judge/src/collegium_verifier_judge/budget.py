"""What the judge has spent, and whether it may spend more. Safe to use from several threads."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from collegium_verifier_judge.config import Budget
from collegium_verifier_judge.failures import BudgetSpent, JudgeFailure

MOST_TOKENS = 100_000_000
"""Tokens of one request that are believed."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one or more requests, as the service counts them; `calls` is the number of requests."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    calls: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.calls + other.calls,
        )

    def to_json(self) -> dict[str, int]:
        """Return it for a verdict's details."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "calls": self.calls,
        }


class Spending:
    """Counts requests exactly; tokens and cost once an answer is there, so requests in flight may exceed them."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.total = Usage()
        self._lock = threading.Lock()

    @property
    def cost(self) -> float:
        """Money spent."""
        return (
            self.total.prompt_tokens * self.budget.prompt_price
            + self.total.completion_tokens * self.budget.completion_price
        ) / 1e6

    def take_call(self) -> None:
        """Count one request.

        Raises:
            BudgetSpent: If the budget allows none.
        """
        with self._lock:
            for name, spent, limit in (
                ("calls", self.total.calls, self.budget.calls),
                ("tokens", self.total.prompt_tokens + self.total.completion_tokens, self.budget.tokens),
                ("cost", self.cost, self.budget.cost),
            ):
                if limit is not None and spent >= limit:
                    raise BudgetSpent(f"the judge's budget is spent: {spent:g} of {limit:g} {name} (budget.{name})")
            self.total += Usage(calls=1)

    def add(self, reported: object) -> Usage:
        """Count an answer's tokens and return them.

        Raises:
            JudgeFailure: If the report is no sane number, or is missing while the budget counts tokens.
        """
        usage = _read(reported)
        if usage is None:
            if self.budget.counts_tokens:
                raise JudgeFailure(
                    "the service reports no token usage, so budget.tokens and budget.cost cannot be kept"
                )
            return Usage()
        with self._lock:
            self.total += usage
        return usage


def _read(reported: object) -> Usage | None:
    if not isinstance(reported, Mapping):
        return None
    values: list[Any] = [reported.get("prompt_tokens"), reported.get("completion_tokens")]
    if None in values:
        return None
    # Beyond any context, a number would only spoil the sum (and may not fit a float, in which cost is counted).
    if not all(type(value) is int and 0 <= value <= MOST_TOKENS for value in values):
        raise JudgeFailure(f"the service reports a token usage that is no number from 0 to {MOST_TOKENS}")
    return Usage(values[0], values[1])
