"""What to audit, and what an audit found."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from collegium.testing.conformance.cases import Case


@dataclass(frozen=True, slots=True)
class AuditSpec:
    """One verifier on one set of labelled cases.

    Args:
        name: Name of the set of cases, as in a table.
        verifier: Component: short name or ``distribution/name``.
        cases: What to judge; a case without `expected` is only used by the exploit probes.
        options: The verifier's options.
        explained: Id of a case that the verifier and the label disagree on, to the reason, in a line.
        source: Where the labels come from.
        note: What the figures mean, where that is not the obvious thing.
        probes: Tasks to try the exploit probes on, where the project measures its own verifiers.
        learned: The verdicts are those of a model that was trained for the audit: its mistakes are counted and not
            explained one by one, and the figures may differ a little between machines.
        baseline: Another way to judge the same cases, for comparison: whether it passes a case.
        baseline_name: Its name.
    """

    name: str
    verifier: str
    cases: Sequence[Case]
    options: Mapping[str, Any] = field(default_factory=dict)
    explained: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    note: str = ""
    probes: int = 0
    learned: bool = False
    baseline: Callable[[Case], bool] | None = None
    baseline_name: str = ""


@dataclass(frozen=True, slots=True)
class Variants:
    """What happened to right answers that were rewritten: how many were tried, and which fared wrongly."""

    tried: int = 0
    lost: list[str] = field(default_factory=list)
    """Rewritten without a change of value, and no longer passed: ``case/name of the rewriting``."""
    kept: list[str] = field(default_factory=list)
    """Changed in value, and passed all the same."""
    errors: list[str] = field(default_factory=list)
    """Cases for which the verifier could not say its rewritings, with the reason."""


@dataclass(frozen=True, slots=True)
class Exploits:
    """What happened to completions that answer nothing."""

    tried: int = 0
    passed: list[str] = field(default_factory=list)
    """``case/name of the probe`` that passed."""
    errors: list[str] = field(default_factory=list)
    """Probes that the verifier failed on, with its reason."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two judges on the same cases, both decided: how many each way, and on which they differ."""

    other: str
    both_pass: int
    both_fail: int
    only_this: list[str]
    only_other: list[str]
    undecided: list[str]
    """Ids on which one of them abstained or failed."""
    other_agreement: float | None
    """The other's agreement with the labels."""
    other_false_positives: list[str]


@dataclass(frozen=True, slots=True)
class AuditReport:
    """An audit's findings; all ids are of labelled cases.

    Args:
        cases: Labelled cases.
        agreement: Share of them on which verdict and label agree; an abstention or error agrees with nothing.
        seconds: Wall time of judging the labelled cases in one batch.
        latency: ``p50``, ``p95`` and ``max`` seconds of one case judged alone, over up to 50 cases.
        unstable: Ids whose verdict differed when judged again.
    """

    verifier: str
    options: Mapping[str, Any]
    threshold: float
    cases: int
    positives: int
    agreement: float | None
    false_positives: list[str]
    false_negatives: list[str]
    abstained: list[str]
    errors: list[str]
    reasons: dict[str, str]
    seconds: float
    items_per_s: float | None
    latency: dict[str, float]
    unstable: list[str]
    perturbations: Variants | None = None
    exploits: Exploits | None = None
    comparison: Comparison | None = None

    @property
    def disagreements(self) -> list[str]:
        """Ids of labelled cases on which verdict and label do not agree."""
        return [*self.false_positives, *self.false_negatives, *self.abstained, *self.errors]

    @property
    def false_positive_rate(self) -> float | None:
        """False positives as a share of the cases labelled 0, or None without such cases."""
        negatives = self.cases - self.positives
        return len(self.false_positives) / negatives if negatives else None

    @property
    def false_negative_rate(self) -> float | None:
        """False negatives as a share of the cases labelled 1, or None without such cases."""
        return len(self.false_negatives) / self.positives if self.positives else None

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON."""
        rates = {name: getattr(self, name) for name in ("false_positive_rate", "false_negative_rate")}
        return {"schema": 1} | asdict(self) | {"options": dict(self.options)} | rates
