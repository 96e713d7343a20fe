"""Lifecycle events: one frozen dataclass per hook, so that a field can be added without breaking a plugin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collegium.task import Sample
    from collegium.verdict import Verdict


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A run begins: its directory and resolved recipe."""

    directory: str
    recipe: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RunFinished:
    """A run ended well: the content of report.json."""

    directory: str
    report: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RunFailed:
    """A run stopped: which stage (or none) and why."""

    directory: str
    stage: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class StageStarted:
    """A stage begins in a worker."""

    stage: str
    use: str


@dataclass(frozen=True, slots=True)
class StageFinished:
    """A stage ended well; its final metrics."""

    stage: str
    use: str
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class StageFailed:
    """A stage stopped; why and whose fault."""

    stage: str
    use: str
    reason: str
    owner: str | None


@dataclass(frozen=True, slots=True)
class StepFinished:
    """One optimizer step ended, in a worker."""

    stage: str
    step: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class RolloutsJudged:
    """A batch of rollouts has its verdicts, in a worker."""

    stage: str
    step: int
    samples: Sequence[Sample]
    verdicts: Sequence[Verdict]
