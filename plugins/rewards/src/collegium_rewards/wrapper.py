"""Reward sources that change another reward by the lengths of the completions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from collegium import Error, RewardContext, RewardSource, Sample, Score, Verdict
from collegium.judge import Judge, RewardJudge
from collegium_rewards.composed import seconds_of
from collegium_rewards.configs import WrapperConfig


class Wrapper(RewardSource):
    """Score with another reward, then change the scores of each prompt's completions. Subclass and write `changed`.

    A completion without token ids has no length, and is an `Error`; one that the other reward abstains or errs on stays
    so, and is in no mean.
    """

    Config: ClassVar[type[WrapperConfig]] = WrapperConfig

    _inner: Judge | RewardJudge

    def prepare(self, context: RewardContext) -> None:
        """Build the other reward; it gets the models of the stage's edge `reward_models`."""
        self._step = 1
        self._inner = context.build(self.config.reward, "reward", context.models)
        self.timeout_s = seconds_of(self._inner)  # type: ignore[misc]

    def score(self, batch: Sequence[Sample]) -> Sequence[Verdict]:
        """Score, then change group by group."""
        verdicts = [_with_length(*each) for each in zip(batch, self._inner.judge(batch), strict=True)]
        groups: defaultdict[int, list[int]] = defaultdict(list)
        for row, sample in enumerate(batch):
            if isinstance(verdicts[row], Score):
                groups[sample.group].append(row)
        for rows in groups.values():
            scores = [verdict.value for row in rows if isinstance(verdict := verdicts[row], Score)]
            values = self.changed(batch[rows[0]].task.id, scores, [length_of(batch[row]) for row in rows])
            for row, before, after in zip(rows, scores, values, strict=True):
                verdicts[row] = Score(after, {"reward": before, "tokens": length_of(batch[row])})
        return verdicts

    def changed(self, task_id: str, scores: Sequence[float], lengths: Sequence[int]) -> Sequence[float]:
        """Return the new scores of one prompt's completions.

        Args:
            task_id: The prompt's task.
            scores: By the other reward.
            lengths: Tokens of each completion.
        """
        raise NotImplementedError

    def after_step(self, step: int, metrics: Mapping[str, float]) -> Mapping[str, float]:
        """Go on to the next step."""
        self._step = step + 1
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Return the step."""
        return {"step": self._step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the step."""
        self._step = int(state["step"])


def length_of(sample: Sample) -> int:
    """Return the tokens of a completion, end-of-sequence included; 0 where there are no ids."""
    return 0 if sample.completion is None else sample.completion.length


def _with_length(sample: Sample, verdict: Verdict) -> Verdict:
    if isinstance(verdict, Score) and not length_of(sample):
        return Error(f"the completion of task {sample.task.id!r} has no token ids, so it has no length in tokens")
    return verdict
