"""Why a judgement could not be had; `verify` turns each into a verdict."""

from __future__ import annotations


class JudgeFailure(Exception):
    """No usable answer, and asking again would not help (or time and retries are used up)."""


class BudgetSpent(Exception):
    """The budget does not allow another request."""


class Repeatable(Exception):
    """This attempt failed, another may succeed.

    Args:
        reason: What went wrong.
        wait_s: Seconds that the service asks to wait (``Retry-After``).
    """

    def __init__(self, reason: str, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_s = wait_s
