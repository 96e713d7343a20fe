"""Run an audit: every verdict is obtained as a run obtains it, through a judge with time limits and checks."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from collegium.audit.probes import empty_probes, endless_probes, probes
from collegium.audit.spec import AuditReport, AuditSpec, Comparison, Exploits, Variants
from collegium.audit.variants import variants_of
from collegium.component import Use
from collegium.errors import ConfigError, RecipeError
from collegium.job import ErrorPolicy
from collegium.judge import Judge
from collegium.planning.resolve import Resolver
from collegium.plugins.registry import Registry
from collegium.recipe.source import SourceMap
from collegium.task import Completion, Sample, Task
from collegium.testing.conformance.cases import Case
from collegium.time_limit import CallFailed, TimeLimitExceeded, call_within
from collegium.verdict import Abstain, Error, Score, Verdict

T = TypeVar("T")
logger = logging.getLogger(__name__)
CLOSE_S = 30.0
"""Seconds that a verifier may take to close."""
MOST_FAILED = 3
"""Cases after which a verifier that cannot say its rewritings is not asked again."""
NEVER_STOP = ErrorPolicy(budget=1.0, grace=0, on_exceeded="quarantine")
TIMED_ALONE = 50
"""Cases that are judged alone, for the latency and to see whether the verdict is the same again."""
ENDLESS_TASKS = 2
"""Tasks whose probes include those that run into the time limit."""


@dataclass(frozen=True, slots=True)
class Depth:
    """How much an audit tries besides the labelled cases.

    Args:
        threshold: Score from which a verdict passes.
        perturb: Right answers that are rewritten, at most.
        exploits: Tasks that are probed, at most.
        alone: Cases judged alone, at most.
    """

    threshold: float = 1.0
    perturb: int = 200
    exploits: int = 20
    alone: int = TIMED_ALONE


class _Auditor:
    def __init__(self, judge: Judge, depth: Depth) -> None:
        self.judge = judge
        self.depth = depth

    def verdicts(self, samples: Sequence[Sample]) -> list[Verdict]:
        return self.judge.judge(samples)

    def passes(self, verdict: Verdict) -> bool:
        return isinstance(verdict, Score) and verdict.value >= self.depth.threshold

    def labelled(self, cases: Sequence[Case]) -> dict[str, Any]:
        """Judge the labelled cases in one batch, and some of them alone."""
        started = time.perf_counter()
        verdicts = self.verdicts([case.as_sample() for case in cases])
        seconds = time.perf_counter() - started
        sorted_out = {name: list[str]() for name in ("false_positives", "false_negatives", "abstained", "errors")}
        for case, verdict in zip(cases, verdicts, strict=True):
            if (name := self._disagreement(case, verdict)) is not None:
                sorted_out[name].append(case.id)
        right = len(cases) - sum(map(len, sorted_out.values()))
        latency, unstable = self._alone(cases, verdicts)
        return sorted_out | {
            "cases": len(cases),
            "positives": sum(bool(case.expected) for case in cases),
            "agreement": right / len(cases) if cases else None,
            "reasons": {
                case.id: verdict.reason
                for case, verdict in zip(cases, verdicts, strict=True)
                if isinstance(verdict, (Abstain, Error))
            },
            "seconds": seconds,
            "items_per_s": len(cases) / seconds if cases and seconds > 0 else None,
            "latency": latency,
            "unstable": unstable,
        }

    def _disagreement(self, case: Case, verdict: Verdict) -> str | None:
        if isinstance(verdict, Error):
            return "errors"
        if isinstance(verdict, Abstain):
            return "abstained"
        if self.passes(verdict) == bool(case.expected):
            return None
        return "false_negatives" if case.expected else "false_positives"

    def _alone(self, cases: Sequence[Case], verdicts: Sequence[Verdict]) -> tuple[dict[str, float], list[str]]:
        step = max(1, len(cases) // self.depth.alone) if self.depth.alone else len(cases) + 1
        seconds, unstable = [], []
        for case, verdict in list(zip(cases, verdicts, strict=True))[::step][: self.depth.alone]:
            started = time.perf_counter()
            (again,) = self.verdicts([case.as_sample()])
            seconds.append(time.perf_counter() - started)
            if type(again) is not type(verdict) or self.passes(again) != self.passes(verdict):
                unstable.append(case.id)
        seconds.sort()
        if not seconds:
            return {}, []
        at = {"p50": 0.5, "p95": 0.95, "max": 1.0}
        return {name: seconds[min(len(seconds) - 1, int(share * len(seconds)))] for name, share in at.items()}, unstable

    def variants(self, cases: Sequence[Case]) -> Variants:
        """Rewrite the right answers that pass."""
        right = _spread([case for case in cases if case.expected], self.depth.perturb)
        passing = self.verdicts([case.as_sample() for case in right])
        tried: list[tuple[str, bool, Sample]] = []
        failed: list[str] = []
        for case, verdict in zip(right, passing, strict=True):
            if not self.passes(verdict) or len(failed) >= MOST_FAILED:
                continue
            try:
                variants = variants_of(self.judge.verifier, Completion(case.completion), case.as_task())
            except (CallFailed, TimeLimitExceeded) as error:
                failed.append(f"{case.id}: {error}")
                continue
            tried += [
                (f"{case.id}/{each.name}", each.changes_value, Sample(case.as_task(), Completion(each.text)))
                for each in variants
            ]
        verdicts = self.verdicts([sample for _, _, sample in tried])
        found = Variants(tried=len(tried), errors=failed)
        for (name, changes_value, _), verdict in zip(tried, verdicts, strict=True):
            if changes_value and self.passes(verdict):
                found.kept.append(name)
            elif not changes_value and not self.passes(verdict):
                found.lost.append(name)
        return found

    def exploits(self, cases: Sequence[Case]) -> Exploits:
        """Give each task completions that answer nothing; one that is labelled right for the task is left out."""
        tasks: dict[str, Case] = {}
        right: dict[str, set[str]] = {}
        for case in cases:
            key = repr((case.prompt, case.reference, case.task))
            tasks.setdefault(key, case)
            if case.expected:
                right.setdefault(key, set()).add(case.completion.strip())
        tried = []
        for number, (key, case) in enumerate(_spread(list(tasks.items()), self.depth.exploits)):
            task = case.as_task()
            for name, text in self._probes(task, endless=number < ENDLESS_TASKS):
                if text.strip() not in right.get(key, set()):
                    tried.append((f"{case.id}/{name}", Sample(task, Completion(text))))
        verdicts = self.verdicts([sample for _, sample in tried])
        found = Exploits(tried=len(tried))
        for (name, _), verdict in zip(tried, verdicts, strict=True):
            if self.passes(verdict):
                found.passed.append(name)
            elif isinstance(verdict, Error):
                found.errors.append(f"{name}: {verdict.reason}")
        return found

    def _probes(self, task: Task, *, endless: bool) -> list[tuple[str, str]]:
        if self.judge.verifier.form_only:
            return list(empty_probes())
        return [*probes(task), *(endless_probes(task) if endless else ())]


def run_audit(
    spec: AuditSpec,
    registry: Registry,
    depth: Depth | None = None,
    against: str | None = None,
    against_options: Mapping[str, Any] | None = None,
) -> AuditReport:
    """Audit a verifier.

    Args:
        spec: What to judge by what.
        registry: Finds the verifiers.
        depth: How much to try; default: everything.
        against: Another verifier to compare with on the same cases; takes precedence over the spec's baseline.
        against_options: Its options.

    Raises:
        ConfigError: If a verifier or an option is unknown, or a label is neither 0 nor 1.
        VerifierError: If a verifier breaks its contract so that nothing can be said of it.
    """
    depth = depth or Depth()
    labelled = [case for case in spec.cases if case.expected is not None]
    wrong = next((case for case in labelled if case.expected not in (0, 1)), None)
    if wrong is not None:
        raise ConfigError(f"case {wrong.id!r}: expected is {wrong.expected}; an audit needs 0 or 1")
    other = None if against is None else Use(use=against, options=dict(against_options or {}))
    with judging(registry, spec.verifier, spec.options) as judge:
        auditor = _Auditor(judge, depth)
        found = auditor.labelled(labelled)
        return AuditReport(
            verifier=f"{judge.owner}/{judge.name}",
            options=spec.options,
            threshold=depth.threshold,
            **found,
            perturbations=auditor.variants(labelled) if depth.perturb else None,
            exploits=auditor.exploits(spec.cases) if depth.exploits else None,
            comparison=_compare(spec, labelled, auditor, registry, other),
        )


def _spread(items: Sequence[T], most: int) -> list[T]:
    """Return at most so many items, from all over the sequence."""
    step = max(1, -(-len(items) // most)) if most else 1
    return list(items[::step])[:most]


@contextmanager
def judging(registry: Registry, name: str, options: Mapping[str, Any]) -> Iterator[Judge]:
    """Build a verifier, its options validated as a recipe's are, behind a judge that never stops for its errors."""
    resolver = Resolver(registry, SourceMap())
    use = resolver.use("verifier", Use(use=name, options=dict(options)), ("verifier",))
    if use is None or resolver.problems:
        raise RecipeError.of(resolver.problems)
    owner, _, short = use.use.rpartition("/")
    verifier = registry.build("verifier", use.use, use.options)
    judge = Judge(verifier, owner=owner, name=short, policy=NEVER_STOP, domain="audit", cache_size=0)
    try:
        yield judge
    finally:
        try:
            call_within(CLOSE_S, judge.close)
        except (CallFailed, TimeLimitExceeded) as error:
            logger.warning("%s: close() failed: %s", use.use, error)


def _compare(
    spec: AuditSpec, cases: Sequence[Case], auditor: _Auditor, registry: Registry, against: Use | None
) -> Comparison | None:
    """Compare with another verifier, or with the spec's baseline."""
    if against is None and spec.baseline is None:
        return None
    mine = [_decided(auditor, verdict) for verdict in auditor.verdicts([case.as_sample() for case in cases])]
    if against is not None:
        with judging(registry, against.use, against.options) as judge:
            name = f"{judge.owner}/{judge.name}"
            other = _Auditor(judge, auditor.depth)
            theirs = [_decided(other, verdict) for verdict in other.verdicts([case.as_sample() for case in cases])]
    else:
        assert spec.baseline is not None
        name = spec.baseline_name or "baseline"
        theirs = [bool(spec.baseline(case)) for case in cases]
    return _comparison(name, cases, mine, theirs)


def _decided(auditor: _Auditor, verdict: Verdict) -> bool | None:
    return auditor.passes(verdict) if isinstance(verdict, Score) else None


def _comparison(
    name: str, cases: Sequence[Case], mine: Sequence[bool | None], theirs: Iterable[bool | None]
) -> Comparison:
    rows = list(zip(cases, mine, theirs, strict=True))
    return Comparison(
        other=name,
        both_pass=sum(a is True and b is True for _, a, b in rows),
        both_fail=sum(a is False and b is False for _, a, b in rows),
        only_this=[case.id for case, a, b in rows if a is True and b is False],
        only_other=[case.id for case, a, b in rows if a is False and b is True],
        undecided=[case.id for case, a, b in rows if a is None or b is None],
        other_agreement=sum(b is bool(case.expected) for case, _, b in rows) / len(rows) if rows else None,
        other_false_positives=[case.id for case, _, b in rows if b is True and not case.expected],
    )
