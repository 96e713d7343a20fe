"""What a check says: passed, failed with the reason, or not applicable with the reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["passed", "failed", "not applicable"]


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one check of one component."""

    check: str
    status: Status
    reason: str = ""


class CheckFailed(AssertionError):
    """The component breaks its contract; the text says what was found and what was expected."""


class NotApplicable(Exception):
    """The check has nothing to look at; the text says what it would need."""


def require(holds: bool, reason: str) -> None:
    """Fail the check with `reason` unless `holds`."""
    if not holds:
        raise CheckFailed(reason)
