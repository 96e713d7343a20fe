"""The stage `reward-model`: a scalar head on a language model, trained so that better completions score higher.

Sources: InstructGPT (arXiv 2203.02155, section 3.5): all pairs of a prompt in one element of the batch, each completion
run once; Llama 2 (arXiv 2307.09288, section 3.2.2): the margin by rating. Unlike InstructGPT's, rewards are not shifted
to a mean of 0: the held-out mean and deviation are kept beside the weights, and the reward source can use them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from torch import Tensor

from collegium import Stage
from collegium.training.context import StageContext
from collegium.training.loop import StepLoop
from collegium.training.packing import indices_of_step
from collegium.training.seeds import derive
from collegium.training.trainer import Trainer
from collegium_reward_model.configs import RewardModelConfig
from collegium_reward_model.losses import accuracy, calibration_error, centering_loss, margins_of, ranking_loss
from collegium_reward_model.model import RewardModel, Statistics
from collegium_reward_model.preferences import Preference, gather, length_accuracy


class RewardModelStage(Stage):
    """Train a reward model."""

    Config = RewardModelConfig

    def run(self, context: StageContext) -> None:
        """Gather the preferences, train on them, and leave the reward model with its held-out figures."""
        config: RewardModelConfig = self.config
        model = RewardModel.start(context.init_path, context.device, derive(context.seed, context.job.id, "head"))
        train, heldout = gather(context, model, config)
        by_length = length_accuracy(train, heldout)
        model.model.train()
        trainer = Trainer(model, config, config.steps)
        order = derive(context.seed, context.job.id, "order")

        def step(number: int) -> dict[str, float]:
            chosen = [train[index] for index in indices_of_step(number, config.batch, len(train), order)]
            metrics = preference_step(trainer, model, chosen, config)
            if number % config.evaluate_every == 0 or number == config.steps:
                model.statistics, found = evaluate(model, heldout, config, by_length)
                metrics |= found
            return metrics

        StepLoop(context, trainer, config.steps, {"statistics": _StatisticsState(model)}).run(step)


def preference_step(
    trainer: Trainer, model: RewardModel, preferences: Sequence[Preference], config: RewardModelConfig
) -> dict[str, float]:
    """Do one optimizer step: each prompt counts once, whatever the number of its completions."""
    margins: list[Tensor] = []

    def loss_of(part: Sequence[Preference]) -> Tensor:
        rewards = split(model.rewards([ids for each in part for ids in each.sequences]), part)
        margins.extend(margins_of(each.detach(), which.pairs) for each, which in zip(rewards, part, strict=True))
        losses = [loss_on(each, which, config) for each, which in zip(rewards, part, strict=True)]
        return torch.stack(losses).sum() / len(preferences)

    parts = list(micro_batches(preferences, config.micro_batch))
    metrics = trainer.step([partial(loss_of, part) for part in parts], [each.name for each in preferences])
    told = torch.cat(trainer.world.gather(margins))
    return {**metrics, "accuracy": accuracy(told), "margin": float(told.mean()), "pairs": float(len(told))}


def loss_on(rewards_K: Tensor, preference: Preference, config: RewardModelConfig) -> Tensor:
    """Return one prompt's loss, a scalar."""
    pairs = preference.pairs.to(rewards_K.device)
    loss = ranking_loss(rewards_K, pairs, preference.margin)
    return loss + config.centering * centering_loss(rewards_K, pairs) if config.centering else loss


def split(rewards: Tensor, preferences: Sequence[Preference]) -> list[Tensor]:
    """Return each prompt's rewards, ``[K]`` each, from all of them in order."""
    return list(torch.split(rewards, [len(each.sequences) for each in preferences]))


def micro_batches(preferences: Sequence[Preference], most: int) -> Iterator[list[Preference]]:
    """Yield parts of at most `most` completions (or of one prompt with more), like lengths together."""
    part: list[Preference] = []
    for each in sorted(preferences, key=lambda one: max(map(len, one.sequences))):
        if part and sum(len(one.sequences) for one in part) + len(each.sequences) > most:
            yield part
            part = []
        part.append(each)
    if part:
        yield part


def evaluate(
    model: RewardModel, heldout: Sequence[Preference], config: RewardModelConfig, by_length: float
) -> tuple[Statistics, dict[str, float]]:
    """Return the statistics and metrics of the held-out prompts."""
    rewards = model.score([ids for each in heldout for ids in each.sequences], config.micro_batch)
    parts = list(zip(split(rewards, heldout), heldout, strict=True))
    margins = torch.cat([margins_of(each, which.pairs) for each, which in parts])
    statistics = Statistics(
        float(rewards.mean()), float(rewards.std(correction=0)), accuracy(margins), by_length, len(margins)
    )
    return statistics, {
        "heldout/loss": float(torch.stack([loss_on(each, which, config) for each, which in parts]).mean()),
        "heldout/accuracy": statistics.accuracy,
        "heldout/length_accuracy": by_length,
        "heldout/chance": 0.5,
        "heldout/margin": float(margins.mean()),
        "heldout/calibration_error": calibration_error(margins),
        "heldout/reward_mean": statistics.mean,
        "heldout/reward_std": statistics.std,
        "heldout/pairs": float(len(margins)),
        "heldout/prompts": float(len(heldout)),
    }


class _StatisticsState:
    """The held-out figures as a checkpoint holds them: a stage killed after its last step still has them."""

    def __init__(self, model: RewardModel) -> None:
        self.model = model

    def state_dict(self) -> dict[str, Any]:
        """Return them; nothing before the first evaluation."""
        return asdict(self.model.statistics) if self.model.statistics else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore them."""
        self.model.statistics = Statistics(**state) if state else None
