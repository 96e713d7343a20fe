"""The error budget: how many of a component's verdicts may be `Error` before the core acts."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from collegium.errors import VerifierError
from collegium.job import ErrorPolicy
from collegium.verdict import Abstain, Error, Verdict


class ErrorBudget:
    """Count verdicts and act when the share of errors exceeds the policy's budget.

    Args:
        policy: Budget, grace and what to do.
        component: ``distribution/name``, for messages.
        owner: The distribution whose errors count; an error that it only passes on is another budget's.
        domain: The domain that is quarantined; empty for all that the component judges.
    """

    def __init__(self, policy: ErrorPolicy, *, component: str, owner: str, domain: str) -> None:
        self.policy = policy
        self.component = component
        self.owner = owner
        self.domain = domain
        self.judged = 0
        self.errors = 0
        self.abstained = 0
        self.quarantine: str | None = None
        """Why the domain is quarantined, or None."""
        self._last: deque[str] = deque(maxlen=3)
        self._lock = threading.Lock()

    def record(self, verdicts: Iterable[Verdict]) -> None:
        """Count verdicts, then stop or quarantine if the budget is spent.

        Raises:
            VerifierError: If it is spent and the policy says ``stop``.
        """
        with self._lock:
            for verdict in verdicts:
                self._count(verdict)
            if self.quarantine is not None or not self._spent():
                return
            if self.policy.on_exceeded == "quarantine":
                self.quarantine = self._story()
                return
        raise VerifierError(self._story(), fix=self._fix(), owner=self.owner)

    def state_dict(self) -> dict[str, Any]:
        """Return the counters and the quarantine, as plain data."""
        with self._lock:
            return {
                "judged": self.judged,
                "errors": self.errors,
                "abstained": self.abstained,
                "quarantine": self.quarantine,
                "last": list(self._last),
            }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        with self._lock:
            self.judged, self.errors, self.abstained = state["judged"], state["errors"], state["abstained"]
            self.quarantine = state["quarantine"]
            self._last = deque(state["last"], maxlen=self._last.maxlen)

    def _count(self, verdict: Verdict) -> None:
        self.judged += 1
        self.abstained += isinstance(verdict, Abstain)
        if isinstance(verdict, Error) and verdict.owner == self.owner:
            self.errors += 1
            self._last.append(verdict.reason)

    def _spent(self) -> bool:
        looked_at = self.judged >= max(1, self.policy.grace)
        return looked_at and self.errors > self.policy.budget * self.judged

    def _story(self) -> str:
        share = self.errors / self.judged
        where = f" in domain {self.domain!r}" if self.domain else ""
        reasons = "; ".join(f"({index}) {reason}" for index, reason in enumerate(self._last, 1))
        return (
            f"{self.component} spent its error budget{where}: {self.errors} of {self.judged} verdicts ({share:.1%}) "
            f"are errors, {self.policy.budget:.1%} are allowed; the last: {reasons}"
        )

    def _fix(self) -> str:
        return (
            f"repair or upgrade {self.owner}, or the tasks it reads; to go on without the domain set "
            "errors.on_exceeded=quarantine, to allow more set errors.budget"
        )
