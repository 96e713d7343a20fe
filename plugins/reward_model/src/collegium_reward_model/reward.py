"""The reward source `reward-model`: samples scored by one reward model, or by two, safety first.

Source of the two-model form: Llama 2 (arXiv 2307.09288, section 3.2.3).

Shapes: ``B`` samples.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from collegium import ConfigError, DataError, Error, RewardContext, RewardSource, Sample, Score, Verdict
from collegium.training.distributed import world
from collegium.training.reward_shaping import piecewise_reward, whitened_logit
from collegium_reward_model.configs import OWNER, RewardModelRewardConfig, models_of
from collegium_reward_model.model import STATISTICS_FILE, RewardModel, Statistics


class RewardModelReward(RewardSource):
    """Score samples with trained reward models; the text is encoded anew, as the policy's tokens may be others."""

    Config = RewardModelRewardConfig

    _models: tuple[RewardModel, ...] = ()
    _paths: tuple[str, ...] = ()

    def prepare(self, context: RewardContext) -> None:
        """Load the models: those that the options name, else those of the stage's edge `reward_models`.

        Of several ranks the first one judges; another loads them if it has to score after all.

        Raises:
            ConfigError: If there are not as many as `combine` scores with, or both places name some.
            PolicyError: If one has no trained head, or no held-out figures to normalise with.
        """
        if self.config.models and context.models:
            raise ConfigError(
                "reward-model: models names reward models and the edge reward_models gives some as well",
                fix="leave one of them out",
                owner=OWNER,
            )
        paths, wanted = list(self.config.models or context.models), models_of(self.config.combine)
        if len(paths) != wanted:
            raise ConfigError(
                f"reward-model: combine: {self.config.combine} scores with {wanted} reward models, found {len(paths)}",
                fix="give the stage reward_models: [STAGE, ...] or the reward models: [FOLDER, ...]",
                owner=OWNER,
            )
        self._paths = tuple(paths)
        if world().is_main:
            self._loaded()

    def _loaded(self) -> tuple[RewardModel, ...]:
        """Return the models, loaded when first asked for."""
        if not self._models:
            self._models = tuple(self._load(path) for path in self._paths)
            self._check_statistics(self._models[0].statistics)
        return self._models

    def _load(self, path: str) -> RewardModel:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        if self.config.offload == "cpu":
            return RewardModel.load(path).offload(device)
        return RewardModel.load(path, device)

    def _check_statistics(self, statistics: Statistics | None) -> None:
        if self.config.output == "normalised" and (statistics is None or statistics.std == 0):
            raise ConfigError(
                f"output: normalised needs the held-out mean and a deviation above 0, and {self._paths[0]!r} has "
                f"{'none' if statistics is None else f'a deviation of {statistics.std}'} in its {STATISTICS_FILE}",
                fix="use output: logit, or a reward model that a reward-model stage left",
                owner=OWNER,
            )

    def score(self, batch: Sequence[Sample]) -> Sequence[Verdict]:
        """Score the samples; one that a model cannot read whole is an error, and counts in no batch statistic."""
        models = self._loaded()
        verdicts: dict[int, Verdict] = {}
        rows: list[int] = []
        encoded: list[list[list[int]]] = []
        for row, sample in enumerate(batch):
            try:
                encoded.append([self._encode(model, sample) for model in models])
                rows.append(row)
            except DataError as error:
                verdicts[row] = Error(error.problems[0].what)
        if rows:
            raw = [
                model.score([each[index] for each in encoded], self.config.micro_batch).double()
                for index, model in enumerate(models)
            ]
            is_safety = torch.tensor([self._is_safety(batch[row]) for row in rows])
            values = self._shape(raw, is_safety).tolist()
            verdicts |= {row: Score(value) for row, value in zip(rows, values, strict=True)}
        return [verdicts[row] for row in range(len(batch))]

    def close(self) -> None:
        """Drop the models."""
        self._models, self._paths = (), ()

    def _encode(self, model: RewardModel, sample: Sample) -> list[int]:
        completion = sample.completion
        if completion is None:
            raise DataError(f"the sample of task {sample.task.id!r} has no completion to score", owner=OWNER)
        ended = completion.finish_reason == "stop"
        return model.encode(sample.task.prompt, completion.text, f"task {sample.task.id!r}", ended=ended)

    def _is_safety(self, sample: Sample) -> bool:
        return sample.domain in self.config.safety_domains or sample.task.data.get("is_safety") is True

    def _shape(self, raw: Sequence[Tensor], is_safety: Tensor) -> Tensor:
        """Combine and shape the models' numbers, ``[B]``."""
        output = self.config.output
        if output == "normalised":
            statistics = self._models[0].statistics
            assert statistics is not None  # checked by prepare
            return (raw[0] - statistics.mean) / statistics.std
        if output == "logit":
            return raw[0] if len(raw) == 1 else gated_logits(raw[0], raw[1], is_safety, self.config.threshold)
        scores = [torch.sigmoid(each) for each in raw]
        if len(raw) == 2:
            scores = [piecewise_reward(scores[1], scores[0], is_safety, threshold=self.config.threshold)]
        return whitened_logit(scores[0]) if output == "whitened" else scores[0]


def gated_logits(helpfulness: Tensor, safety: Tensor, is_safety: Tensor, threshold: float) -> Tensor:
    """Return the logit of `piecewise_reward` without going through the sigmoid, which saturates; ``[B]``."""
    return torch.where(is_safety | (torch.sigmoid(safety) < threshold), safety, helpfulness)
