"""The reward source `rubric`: the weighted share of a task's own criteria that a completion meets.

Source: DeepSeek-V3.2 rewards its general domain by a rubric per prompt. How it adds the criteria up is not published;
points reached over points to be had, faults taken off, is HealthBench's way.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from collegium import Abstain, DataError, Error, RewardContext, RewardSource, Sample, Score, Verdict
from collegium.judge import Judge, RewardJudge
from collegium_rewards.composed import seconds_of
from collegium_rewards.configs import RubricConfig
from collegium_rewards.criteria import Criterion, criteria_of, found_in, rubric_score, task_for

JUDGE = ""
"""Stands for the judge among the names of the checks."""
Place: TypeAlias = tuple[int, str]
"""Row of the batch, and text of the criterion."""


class RubricReward(RewardSource):
    """Ask about every criterion of every sample; ``details["criteria"]`` holds what was found."""

    Config = RubricConfig

    _checks: Mapping[str, Judge | RewardJudge]

    def prepare(self, context: RewardContext) -> None:
        """Build the judge and the checks."""
        uses = {**self.config.checks, **({JUDGE: self.config.judge} if self.config.judge is not None else {})}
        self._checks = {name: context.build(use, "verifier") for name, use in uses.items()}
        # A task may have any number of criteria of one check; twenty fit.
        self.timeout_s = 20 * sum(map(seconds_of, self._checks.values())) or self.timeout_s  # type: ignore[misc]

    def score(self, batch: Sequence[Sample]) -> Sequence[Verdict]:
        """Judge the batch, each check once with all that is asked of it; a malformed rubric is its task's `Error`."""
        rubrics: dict[int, list[Criterion]] = {}
        verdicts: dict[int, Verdict] = {}
        for row, sample in enumerate(batch):
            try:
                rubrics[row] = self._criteria(sample)
            except DataError as error:
                verdicts[row] = Error(error.problems[0].what)
        found = self._found(batch, rubrics)
        verdicts |= {row: self._verdict(row, criteria, found) for row, criteria in rubrics.items()}
        return [verdicts[row] for row in range(len(batch))]

    def _criteria(self, sample: Sample) -> list[Criterion]:
        return criteria_of(
            sample.task, self.config.field, tuple(self.config.checks), has_judge=self.config.judge is not None
        )

    def _found(self, batch: Sequence[Sample], rubrics: Mapping[int, Sequence[Criterion]]) -> dict[Place, Verdict]:
        """Return what was found of each criterion of each row."""
        found: dict[Place, Verdict] = {}
        asked: defaultdict[str, dict[Place, Sample]] = defaultdict(dict)
        for row, criteria in rubrics.items():
            for criterion in criteria:
                place = (row, criterion.text)
                if criterion.pattern is not None:
                    found[place] = _matched(batch[row], criterion.pattern)
                else:
                    task = task_for(criterion, batch[row].task, self.config.field)
                    asked[criterion.check or JUDGE][place] = Sample(task, batch[row].completion, batch[row].group)
        for name, samples in asked.items():
            found |= zip(samples, self._checks[name].judge(list(samples.values())), strict=True)
        return found

    def _verdict(self, row: int, criteria: Sequence[Criterion], found: Mapping[Place, Verdict]) -> Verdict:
        scores: dict[str, float] = {}
        silent: dict[str, str] = {}
        for criterion in criteria:
            verdict = found[row, criterion.text]
            if isinstance(verdict, Error):
                return Error(f"criterion {criterion.text!r}: {verdict.reason}", verdict.owner)
            if isinstance(verdict, Abstain):
                silent[criterion.text] = verdict.reason
            else:
                scores[criterion.text] = verdict.value
        asked = [criterion for criterion in criteria if criterion.text in scores]
        if silent and (self.config.abstain == "whole" or not any(criterion.weight > 0 for criterion in asked)):
            return Abstain("; ".join(f"criterion {text!r}: {reason}" for text, reason in silent.items()))
        value = rubric_score([criterion.weight for criterion in asked], list(scores.values()))
        return Score(value, {"criteria": scores})


def _matched(sample: Sample, pattern: str) -> Verdict:
    try:
        return Score(found_in(sample.completion.text if sample.completion else "", pattern))
    except TimeoutError:
        return Error(f"pattern {pattern!r} of task {sample.task.id!r} takes too long on a completion: rewrite it")
