"""Judges: a verifier or reward source as the core calls it, with time limit, checks, cache and error budget.

Nothing that a plugin does here reaches a gradient unchecked. What it returns must have the batch's length (else the
run stops: verdicts are never broadcast or cut), each entry must be a verdict, and each score must lie in range; an
exception, a wrong type and a missed time limit become `Error`, owned by the plugin's distribution and charged to its
budget.
"""

from __future__ import annotations

import itertools
import logging
import math
import reprlib
from collections.abc import Sequence
from dataclasses import replace

from collegium.errors import VerifierError
from collegium.guarded import Guarded
from collegium.job import ErrorPolicy
from collegium.kinds.reward import RewardSource
from collegium.kinds.verifier import Verifier
from collegium.task import Completion, Sample, Task
from collegium.time_limit import CallFailed, TimeLimitExceeded
from collegium.verdict import Abstain, Error, Score, Verdict
from collegium.verdict_cache import VerdictCache, digest_keys

logger = logging.getLogger(__name__)

LONGEST_LOOP_S = 60.0
"""Longest time limit of a batch that is judged one by one: a hang is noticed after this (or one item's limit)."""
LONGEST_BATCH_S = 3600.0
"""Longest time limit of a batch for a verifier with a `verify_batch` of its own, which keeps its pool busy."""
LONGEST_SCORE_S = 3600.0
"""Most seconds that a reward source may take for a batch; it sees the whole batch at once, so it is never split."""


class _JudgeBase(Guarded):
    """What judging a verifier's and a reward source's samples has in common."""

    expects = "a finite number"
    low = -math.inf
    high = math.inf

    @property
    def judged(self) -> int:
        """Verdicts given so far, cached ones included; those given in quarantine are not."""
        return self.budget.judged

    @property
    def errors(self) -> int:
        """Verdicts that were errors of this component's own."""
        return self.budget.errors

    @property
    def abstained(self) -> int:
        """Verdicts that were `Abstain`; those given in quarantine are not counted."""
        return self.budget.abstained

    def judge(self, samples: Sequence[Sample]) -> list[Verdict]:
        """Return one checked verdict per sample, in order.

        Raises:
            VerifierError: If the component returns the wrong number of verdicts, hangs too often, or spends its error
                budget under the policy ``stop``.
            ValueError: If a sample has no completion.
        """
        if not samples:
            return []
        if self.budget.quarantine is not None:
            return [Abstain(f"quarantined: {self.budget.quarantine}")] * len(samples)
        _require_completions(samples)
        verdicts = self._verdicts(samples)
        self.budget.record(verdicts)
        if self.quarantined:
            logger.warning("domain %r is quarantined: %s", self.domain, self.budget.quarantine)
        return verdicts

    def _verdicts(self, samples: Sequence[Sample]) -> list[Verdict]:
        raise NotImplementedError

    def _checked(self, returned: object, count: int) -> list[Verdict]:
        """Check length, types and range of what the component returned for `count` samples."""
        found, items = self._items(returned, count)
        if items is None or len(items) != count:
            raise VerifierError(
                f"{self.owner}/{self.name} returned {found} for a batch of {count} samples, expected one each",
                fix=f"report this to {self.owner}: order and length of its verdicts must be the batch's",
                owner=self.owner,
            )
        return [self._check(verdict) for verdict in items]

    @staticmethod
    def _items(returned: object, count: int) -> tuple[str, list[object] | None]:
        """Say what was returned, and copy it if its length is `count`: a subclass may lie about it or raise."""
        if not isinstance(returned, Sequence) or isinstance(returned, str):
            return f"a {type(returned).__name__}", None
        try:
            length = len(returned)
            items = list(itertools.islice(returned, count + 1))
        except Exception as error:
            return f"a {type(returned).__name__} that cannot be read ({type(error).__name__})", None
        return f"{length if length != count else len(items)} verdicts", items if length == count else None

    def _check(self, verdict: object) -> Verdict:
        if isinstance(verdict, Score):
            return self._check_score(verdict)
        if isinstance(verdict, Error):
            return self._error(verdict.reason, verdict.owner)
        if isinstance(verdict, Abstain):
            return verdict
        return self._error(
            f"returned {reprlib.repr(verdict)} ({type(verdict).__name__}), expected Score, Abstain or Error"
        )

    def _check_score(self, score: Score) -> Verdict:
        try:
            value = float(score.value)
        except Exception:  # a plugin's own subclass may raise anything
            return self._error(f"returned a score of {reprlib.repr(score.value)}, expected {self.expects}")
        if not (math.isfinite(value) and self.low <= value <= self.high):
            return self._error(f"returned a score of {value!r}, expected {self.expects}")
        return score if type(score.value) is float else replace(score, value=value)


class Judge(_JudgeBase):
    """One domain's verifier as the core calls it. Safe to call from several threads.

    Verdicts of a deterministic verifier are kept for the run (the most recently used; errors are not kept), and equal
    samples of one batch are judged once. A batch that exceeds its time or raises is judged again item by item, so that
    one bad item is one `Error`. A hanging item's thread is abandoned, not stopped: `call_within` says what that costs
    and why a verifier that can hang in C code must work in processes.

    Args:
        verifier: The component.
        owner: Its distribution, charged with every error.
        name: Its short name.
        policy: What errors may cost.
        domain: The domain that it judges.
        cache_size: Verdicts kept.
    """

    expects = "a number in [0, 1]"
    low = 0.0
    high = 1.0

    def __init__(
        self, verifier: Verifier, *, owner: str, name: str, policy: ErrorPolicy, domain: str, cache_size: int = 50_000
    ) -> None:
        super().__init__(owner=owner, name=name, policy=policy, domain=domain)
        self.verifier = verifier
        self._cache = VerdictCache(cache_size if verifier.deterministic else 0)
        plain = type(verifier).verify_batch is Verifier.verify_batch
        self._batch = max(1, int((LONGEST_LOOP_S if plain else LONGEST_BATCH_S) / verifier.timeout_s))

    @property
    def cached(self) -> int:
        """Verdicts that were not computed: taken from the cache, or shared with an equal sample of the batch."""
        return self._cache.hits

    def close(self) -> None:
        """Release what the verifier holds."""
        self.verifier.close()

    def _verdicts(self, samples: Sequence[Sample]) -> list[Verdict]:
        if not self.verifier.deterministic:
            return self._compute(samples)
        keys = digest_keys(samples)
        known = self._cache.take(keys)
        missing = {key: sample for key, sample in zip(keys, samples, strict=True) if key not in known}
        fresh = dict(zip(missing, self._compute(list(missing.values())), strict=True))
        self._cache.store(fresh, asked=len(samples) - sum(key in known for key in keys))
        return [known[key] if key in known else fresh[key] for key in keys]

    def _compute(self, samples: Sequence[Sample]) -> list[Verdict]:
        verdicts: list[Verdict] = []
        while len(verdicts) < len(samples):
            start = len(verdicts)
            verdicts += self._compute_batch(samples[start : start + self._batch])
        return verdicts

    def _compute_batch(self, samples: Sequence[Sample]) -> list[Verdict]:
        try:
            return self._call(samples)
        except TimeLimitExceeded as late:
            # The next hang is found sooner; a verifier that keeps to its time is not slowed down.
            self._batch = max(1, self._batch // 2)
            reason = str(late)
        except CallFailed as failed:
            reason = str(failed)
        if len(samples) == 1:
            return [self._error(reason)]
        return [verdict for sample in samples for verdict in self._compute_batch([sample])]

    def _call(self, samples: Sequence[Sample]) -> list[Verdict]:
        completions: list[Completion] = [sample.completion for sample in samples if sample.completion is not None]
        tasks: list[Task] = [sample.task for sample in samples]
        seconds = self.verifier.timeout_s * len(samples)
        returned = self._limited(seconds, lambda: self.verifier.verify_batch(completions, tasks))
        return self._checked(returned, len(samples))


class RewardJudge(_JudgeBase):
    """A reward source as the core calls it: one call per batch, any finite score, no cache.

    The source sees the whole batch (it may compare samples), so a batch that raises or exceeds its time is an `Error`
    for each sample. It is called in a worker thread: torch's gradient mode is per thread, so a source that runs a model
    switches gradients off itself. An error that it passes on from a verifier's judge keeps that verifier's owner and is
    not charged twice.

    Args:
        source: The component, already prepared.
        owner: Its distribution.
        name: Its short name.
        policy: What errors may cost.
        domain: The domain that it scores; empty for all.
    """

    def __init__(self, source: RewardSource, *, owner: str, name: str, policy: ErrorPolicy, domain: str = "") -> None:
        super().__init__(owner=owner, name=name, policy=policy, domain=domain)
        self.source = source

    @property
    def cached(self) -> int:
        """Always 0: a reward source may compare the samples of a batch, so nothing is reused."""
        return 0

    def close(self) -> None:
        """Release what the source holds."""
        self.source.close()

    def _verdicts(self, samples: Sequence[Sample]) -> list[Verdict]:
        seconds = min(LONGEST_SCORE_S, self.source.timeout_s * len(samples))
        try:
            return self._checked(self._limited(seconds, lambda: self.source.score(samples)), len(samples))
        except TimeLimitExceeded as late:
            return [self._error(str(late))] * len(samples)
        except CallFailed as failed:
            if isinstance(failed.cause, VerifierError):
                raise failed.cause from None  # a verifier that the source asked must stop the run
            return [self._error(str(failed))] * len(samples)

    def _owner_of(self, named: str) -> str:
        return named or self.owner


def _require_completions(samples: Sequence[Sample]) -> None:
    for sample in samples:
        if sample.completion is None:
            raise ValueError(f"the sample of task {sample.task.id!r} has no completion to judge")
