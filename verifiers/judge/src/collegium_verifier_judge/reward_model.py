"""The verifier `reward-model` and the reward source `reward-model-score`: one number, mapped or as it is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from collegium import Abstain, Completion, Error, RewardSource, Sample, Score, Task, Verdict, Verifier
from collegium_verifier_judge.reward_checkpoint import RewardCheckpoint
from collegium_verifier_judge.reward_config import RewardModelConfig, RewardModelScoreConfig
from collegium_verifier_judge.reward_inputs import Unreadable, Unscorable

Item = tuple[Completion, Task]


class RewardModelVerifier(Verifier):
    """Score completions by sigmoid((reward - shift) / scale); `details["reward"]` is the raw reward.

    Raises:
        VerifierError: If the checkpoint is not usable; it is loaded when the verifier is built.
    """

    Config = RewardModelConfig
    timeout_s = 30.0
    deterministic = False
    """What a sequence is batched with changes the last digits of its reward."""

    def __init__(self, config: RewardModelConfig | Mapping[str, Any] | None = None) -> None:
        super().__init__(config)
        self._checkpoint = RewardCheckpoint(self.config)

    def verify(self, completion: Completion, task: Task) -> Verdict:
        """Judge one completion."""
        return self.verify_batch([completion], [task])[0]

    def verify_batch(self, completions: Sequence[Completion], tasks: Sequence[Task]) -> Sequence[Verdict]:
        """Judge many, batched by length."""
        raw = raw_verdicts(self._checkpoint, list(zip(completions, tasks, strict=True)))
        return [self._mapped(verdict) if isinstance(verdict, Score) else verdict for verdict in raw]

    def _mapped(self, raw: Score) -> Score:
        value = sigmoid((raw.value - self.config.shift) / self.config.scale)
        details = {**raw.details, "reward": raw.value, "mapped": value}
        return Score(value if self.config.pass_at is None else float(value >= self.config.pass_at), details)


class RewardModelScore(RewardSource):
    """Score samples by the raw reward.

    Raises:
        VerifierError: If the checkpoint is not usable.
    """

    Config = RewardModelScoreConfig
    timeout_s = 30.0
    deterministic: ClassVar[bool] = False
    """As for the verifier."""

    def __init__(self, config: RewardModelScoreConfig | Mapping[str, Any] | None = None) -> None:
        super().__init__(config)
        self._checkpoint = RewardCheckpoint(self.config)

    def score(self, batch: Sequence[Sample]) -> Sequence[Verdict]:
        """Score each sample.

        Raises:
            ValueError: If a sample has no completion.
        """
        items: list[Item] = []
        for sample in batch:
            if sample.completion is None:
                raise ValueError(f"the sample of task {sample.task.id!r} has no completion to score")
            items.append((sample.completion, sample.task))
        return raw_verdicts(self._checkpoint, items)


def raw_verdicts(checkpoint: RewardCheckpoint, items: Sequence[Item]) -> list[Verdict]:
    """Return each item's raw reward as a `Score`, or why there is none."""
    encoded = [checkpoint.encode(*item) for item in items]
    rewards = iter(checkpoint.rewards([ids for ids in encoded if isinstance(ids, list)]))
    verdicts: list[Verdict] = []
    for each in encoded:
        if isinstance(each, Unreadable):
            verdicts.append(Error(each.reason))
        elif isinstance(each, Unscorable):
            verdicts.append((Abstain if checkpoint.config.unscorable == "abstain" else Error)(each.reason))
        else:
            verdicts.append(_scored(next(rewards), len(each)))
    return verdicts


def _scored(reward: float, tokens: int) -> Verdict:
    if not math.isfinite(reward):
        return Error(f"the reward model gave {reward} for a text of {tokens} tokens")
    return Score(reward, {"tokens": tokens})


def sigmoid(value: float) -> float:
    """Return 1 / (1 + exp(-value)), without overflow."""
    if value >= 0:
        return 1 / (1 + math.exp(-value))
    grown = math.exp(value)
    return grown / (1 + grown)
