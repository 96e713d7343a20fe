"""Group Relative Policy Optimization: sample a group per prompt, score it, reinforce what beats the group's mean.

Source: DeepSeekMath and DeepSeek-R1 (GRPO). Its variants (no standard deviation, clip-higher, token mean, importance
corrections, GSPO, CISPO, dynamic sampling) are other advantages, losses, aggregations and samplers in the same loop.
"""

from __future__ import annotations

import random

from torch import Tensor

from collegium import ConfigError, Stage
from collegium.training.advantages import build_terms, sum_of_terms
from collegium.training.batch import RolloutBatch
from collegium.training.context import StageContext
from collegium.training.language_model import LanguageModel
from collegium.training.loop import StepLoop
from collegium.training.pipeline import RolloutPipeline
from collegium.training.policy_update import PolicyUpdate
from collegium.training.reference import Reference
from collegium.training.rollouts import RolloutCollector
from collegium.training.scoring import Scorer
from collegium.training.seeds import derive
from collegium.training.trainer import Trainer
from collegium_grpo.stage_config import GrpoConfig


class GrpoStage(Stage):
    """Train the policy on its own rollouts."""

    Config = GrpoConfig

    def run(self, context: StageContext) -> None:
        """Run every step: rollouts, scores, advantages, update."""
        config: GrpoConfig = self.config
        policy = LanguageModel.load(context.init_path, context.device)
        loss = context.build(config.loss, "loss")
        terms = build_terms(context, config.advantages)
        sampler = context.build(config.sampler, "sampler")
        reference = self._reference(context, policy)

        collector = RolloutCollector(
            context, policy, config, sampler=sampler, reward=context.build_reward(config.reward)
        )
        scorer = Scorer(policy, loss, terms.values(), config, reference=reference)
        rollouts = RolloutPipeline(collector, scorer, loss)
        trainer = Trainer(policy, config, config.optimizer_steps)
        update = PolicyUpdate(trainer, loss, config, has_reward)
        self._check_reference(context, scorer.needs)

        def step(number: int) -> dict[str, float]:
            reference.before_step(number)
            batch, metrics = rollouts.collect(number)
            if batch is None or batch.rewards.isnan().all():  # nothing kept, or nothing judged
                return metrics
            metrics |= scorer(batch)
            batch.advantage, sizes = sum_of_terms(terms, batch)
            rng = random.Random(derive(context.seed, context.job.id, number, "update"))
            return metrics | sizes | update(batch, rng)

        with rollouts:
            StepLoop(context, trainer, config.steps, {**rollouts.states, "reference": reference}).run(step)

    def _check_reference(self, context: StageContext, needs: frozenset[str]) -> None:
        """Refuse a reference that nothing reads.

        Raises:
            ConfigError: If the recipe gives or refreshes one and neither the loss nor an advantage term uses it.
        """
        given = context.input("reference") is not None or self.config.refresh_reference_every
        if given and "reference" not in needs:
            raise ConfigError(
                f"stage {context.job.id!r} has a reference, and neither its loss nor its advantages read one",
                fix="set kl_coefficient in the loss, add the advantage kl, or leave the reference out",
                owner="collegium-grpo",
            )

    def _reference(self, context: StageContext, policy: LanguageModel) -> Reference:
        """Return the KL reference: the model that the recipe names, else the one that the stage starts from."""
        path = context.input("reference") or context.init_path
        return Reference(path, policy, self.config.refresh_reference_every)


def has_reward(batch: RolloutBatch) -> Tensor:
    """Return 1 for rows with a reward, 0 for those whose verifier abstained or failed (they count nowhere), ``[B]``."""
    return (~batch.rewards.isnan()).float()
