"""A plugin's component as the core calls it: with a time limit, an error budget, and errors that name their owner."""

from __future__ import annotations

import threading
from collections.abc import Callable

from collegium.error_budget import ErrorBudget
from collegium.errors import VerifierError
from collegium.job import ErrorPolicy
from collegium.time_limit import TimeLimitExceeded, call_within
from collegium.verdict import Error

MOST_ABANDONED = 16
"""Hanging threads at which the run stops: each takes processor time from the rest."""
LONGEST_REASON = 500
"""Characters of an error's reason that are kept."""


class Guarded:
    """Holds what judging and environments have in common.

    Args:
        owner: The component's distribution, charged with every error.
        name: Its short name.
        policy: What errors may cost.
        domain: The domain that it serves; empty for all.
    """

    def __init__(self, *, owner: str, name: str, policy: ErrorPolicy, domain: str) -> None:
        self.owner = owner
        self.name = name
        self.domain = domain
        self.budget = ErrorBudget(policy, component=f"{owner}/{name}", owner=owner, domain=domain)
        self._hanging: list[threading.Thread] = []
        self._abandoned = 0
        self._lock = threading.Lock()

    @property
    def abandoned(self) -> int:
        """Calls that were left running in their thread because their time was up (see `call_within`)."""
        return self._abandoned

    @property
    def quarantined(self) -> bool:
        """Whether the error budget is spent and every verdict is `Abstain` from now on."""
        return self.budget.quarantine is not None

    def _limited(self, seconds: float, function: Callable[[], object]) -> object:
        """Call within a time limit; keep count of the threads that are left behind."""
        try:
            return call_within(seconds, function)
        except TimeLimitExceeded as late:
            self._abandon(late.thread)
            raise

    def _abandon(self, thread: threading.Thread) -> None:
        with self._lock:
            self._abandoned += 1
            self._hanging = [each for each in [*self._hanging, thread] if each.is_alive()]
            hanging = len(self._hanging)
        if hanging >= MOST_ABANDONED:
            raise VerifierError(
                f"{self.owner}/{self.name} left {hanging} calls hanging, each in a thread that cannot be stopped",
                fix=f"{self.owner} must end its own work in time: give it a process with a time limit",
                owner=self.owner,
            )

    def _error(self, reason: str, owner: str = "") -> Error:
        """Make an `Error` that names its owner: this component, unless a reward source passes another's on."""
        try:
            line = " ".join(str(reason).split())
        except Exception as error:
            line = f"gave a reason that cannot be shown ({type(error).__name__})"
        line = line if len(line) <= LONGEST_REASON else line[:LONGEST_REASON] + "..."
        return Error(line, self._owner_of(owner))

    def _owner_of(self, named: str) -> str:
        return self.owner
