"""Multi-teacher on-policy distillation: the student samples, each domain's teacher scores the student's own tokens.

Source: MiMo-V2-Flash (arXiv 2601.02780, section 4, Eq. 5-9); the exact reverse KL from hidden states: DeepSeek-V4
(arXiv 2606.19348). Differs from GRPO only in where the signal comes from: the same rollouts, terms, update and loop.
"""

from __future__ import annotations

import random

import torch
from torch import Tensor

from collegium import ConfigError, Loss, Stage, Use, Weighter
from collegium.training.advantages import build_terms, sum_of_terms
from collegium.training.batch import RolloutBatch
from collegium.training.context import StageContext
from collegium.training.language_model import LanguageModel
from collegium.training.loop import StepLoop
from collegium.training.outcome import group_relative
from collegium.training.pipeline import RolloutPipeline
from collegium.training.policy_update import PolicyUpdate
from collegium.training.rollouts import RolloutCollector
from collegium.training.scoring import Scorer
from collegium.training.seeds import derive
from collegium.training.teacher_pool import TeacherPool
from collegium.training.trainer import Trainer
from collegium_mopd.config import DistillConfig
from collegium_mopd.stage_config import MopdConfig
from collegium_mopd.weighters import Balanced


class MopdStage(Stage):
    """Consolidate the teachers into one student."""

    Config = MopdConfig

    def run(self, context: StageContext) -> None:
        """Run every step: rollouts, teachers' scores, advantages, update."""
        config: MopdConfig = self.config
        policy = LanguageModel.load(context.init_path, context.device)
        loss = context.build(config.loss, "loss")
        self._check(loss)
        terms = build_terms(context, config.advantages if "advantage" in loss.needs else [])
        sampler = context.build(config.sampler, "sampler")
        weighter = context.build(config.weighter, "weighter")
        check_shares(weighter, config.aggregation)
        teachers = TeacherPool.of(context, context.build(config.router, "router"))
        teachers.check_tokenizers(policy.identity)
        reward = context.build_reward(config.reward) if config.outcome_weight else None

        def sequence_weights(batch: RolloutBatch) -> Tensor:
            return torch.tensor(weighter.weights(batch.domains, batch.completion_lengths.tolist()))

        collector = RolloutCollector(context, policy, config, sampler=sampler, reward=reward)
        scorer = Scorer(policy, loss, terms.values(), config, teachers=teachers)
        rollouts = RolloutPipeline(collector, scorer, loss)
        trainer = Trainer(policy, config, config.optimizer_steps)
        update = PolicyUpdate(trainer, loss, config, sequence_weights)

        def step(number: int) -> dict[str, float]:
            batch, metrics = rollouts.collect(number)
            if batch is None:
                return metrics
            metrics |= scorer(batch)
            if terms or config.outcome_weight:
                batch.advantage, sizes = sum_of_terms(terms, batch)
                batch.advantage += self._outcome(batch)
                metrics |= sizes
            rng = random.Random(derive(context.seed, context.job.id, number, "update"))
            return metrics | update(batch, rng)

        with rollouts:
            StepLoop(context, trainer, config.steps, rollouts.states).run(step)

    def _outcome(self, batch: RolloutBatch) -> Tensor:
        """Return alpha times the group-relative reward at every trained token, ``[B, T]``; zero without rewards."""
        if not self.config.outcome_weight:
            return torch.zeros(batch.token_ids.shape)
        relative, _ = group_relative(batch.rewards, batch.groups, std=True)
        weight: float = self.config.outcome_weight
        return weight * relative[:, None] * batch.completion_mask

    def _check(self, loss: Loss) -> None:
        """Refuse options that would do nothing.

        Raises:
            ConfigError: If terms or an outcome weight meet a loss that reads no advantage, or groups have one member.
        """
        unread = [use.use for use in self.config.advantages if not _is_default(use)]
        if unread and "advantage" not in loss.needs:
            raise ConfigError(
                f"the loss {self.config.loss.use!r} reads no advantage, such as {', '.join(unread)}",
                fix="use loss: sampled-token, or leave advantages out",
                owner="collegium-mopd",
            )
        if not self.config.outcome_weight:
            return
        if "advantage" not in loss.needs:
            raise ConfigError(
                f"outcome_weight is {self.config.outcome_weight:g} but the loss {self.config.loss.use!r} reads no "
                "advantage",
                fix="use loss: sampled-token, or outcome_weight: 0",
                owner="collegium-mopd",
            )
        if self.config.group < 2:
            raise ConfigError(
                "outcome_weight compares completions of one prompt, and group is 1",
                fix="set group: 2 or more",
                owner="collegium-mopd",
            )


def check_shares(weighter: Weighter, aggregation: str) -> None:
    """Refuse a balance that the aggregation would undo.

    Raises:
        ConfigError: If shares are counted in sequences and the loss is averaged over tokens, or the other way round.
    """
    expected = "sequences" if aggregation == "sequence-mean" else "tokens"
    if isinstance(weighter, Balanced) and weighter.config.observed != expected:
        raise ConfigError(
            f"weighter balanced counts {weighter.config.observed}, aggregation {aggregation} needs {expected}",
            fix=f"weighter: {{use: balanced, observed: {expected}}}",
            owner="collegium-mopd",
        )


def _is_default(use: Use) -> bool:
    """Tell whether a term is what the recipe gets without naming any."""
    return use.use.rpartition("/")[2] == "distill" and use.options in ({}, DistillConfig().model_dump())
