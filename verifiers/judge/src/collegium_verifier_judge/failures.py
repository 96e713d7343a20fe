"""Why a judgement could not be had; `verify` turns each into a verdict."""

from __future__ import annotations

from collections.abc import Callable

MOST_SAID = 200
"""Characters that are told of what the service said."""


class Failure(Exception):
    """An attempt failed.

    Args:
        reason: What went wrong, in our words.
        said: What the service said; not part of the text until `tell` has masked and cut it.
        wait_s: Seconds that the service asks to wait (``Retry-After``).
    """

    def __init__(self, reason: str, *, said: str = "", wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_s = wait_s
        self._said = said

    def tell(self, mask: Callable[[str], str]) -> None:
        """Add what the service said: masked first, since a key that is cut would not be found any more."""
        said, self._said = " ".join(mask(self._said).split())[:MOST_SAID], ""
        if said:
            self.args = (f"{self.args[0]}: {said}",)


class JudgeFailure(Failure):
    """No usable answer, and asking again would not help (or time and retries are used up)."""


class Repeatable(Failure):
    """This attempt failed, another may succeed."""


class BudgetSpent(Exception):
    """The budget does not allow another request."""
