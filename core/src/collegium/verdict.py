"""Verdicts: what a verifier or reward source may say of one completion.

`Score` is a judgement, `Abstain` says that the verifier has no opinion (the sample carries no reward and is left out of
averages), `Error` says that judging failed. None of them ever turns into another: an error is not a zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Score:
    """A judgement.

    Args:
        value: Finite; in ``[0, 1]`` for a verifier, any finite number for a reward source.
        details: Free-form facts for the run's samples, such as per-test results. JSON-serialisable.

    Raises:
        ValueError: If `value` is not a finite number.
    """

    value: float
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        value: object = self.value  # annotations are not enforced: a plugin may pass anything
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            raise ValueError(f"a score must be a finite number, got {value!r}")


@dataclass(frozen=True, slots=True)
class Abstain:
    """No opinion: the sample carries no reward from this source."""

    reason: str


@dataclass(frozen=True, slots=True)
class Error:
    """Judging failed; counted against the owner's error budget.

    Args:
        reason: What went wrong, in one line.
        owner: The distribution at fault; the core fills it in.
    """

    reason: str
    owner: str = ""


Verdict: TypeAlias = Score | Abstain | Error
