"""Proximal policy optimisation with a value function: the RL stage of InstructGPT, Llama 2 and Tulu 3.

Sources: PPO (arXiv 1707.06347); as in InstructGPT (arXiv 2203.02155, section 3.5 and appendix C): a KL penalty in each
token's reward, a value function that starts from the reward model, a pretraining mix. Unlike InstructGPT's, the
policy's weights are not averaged over steps, and both models have AdamW.
"""

from __future__ import annotations

import random

from collegium import ConfigError, PolicyError, Stage
from collegium.training.context import StageContext
from collegium.training.language_model import LanguageModel
from collegium.training.loop import StepLoop
from collegium.training.reference import Reference
from collegium.training.rollouts import RolloutCollector
from collegium.training.seeds import derive
from collegium.training.trainer import Trainer
from collegium_ppo.config import OWNER, VERIFIERS, PpoConfig
from collegium_ppo.experience import Experience
from collegium_ppo.kl_controller import KlController
from collegium_ppo.pretraining import MixedTrainer, gather_mix
from collegium_ppo.update import PpoUpdate
from collegium_ppo.value_model import ValueModel


class PpoStage(Stage):
    """Train the policy on its own rollouts, and a value function on what became of them."""

    Config = PpoConfig

    def run(self, context: StageContext) -> None:
        """Run every step: rollouts, scores, advantages, update."""
        config: PpoConfig = self.config
        self._check(context)
        policy = LanguageModel.load(context.init_path, context.device)
        reference = self._reference(context, policy)
        # One at a time: where ranks split them, each waits in the first rank's main memory for its trainer.
        trainer = self._trainer(context, policy)
        value = self._value(context, policy)
        value_trainer = Trainer(value, config.model_copy(update={"lr": config.value_lr}), config.optimizer_steps)
        if reference is not None:
            self._check_tokenizer(context, policy, reference.model, f"the reference {reference.path!r}")
        sampler = context.build(config.sampler, "sampler")
        reward = context.build_reward(config.reward)
        rollouts = RolloutCollector(context, policy, config, sampler=sampler, reward=reward)
        controller = KlController(config.kl_coefficient, config.kl_target)
        experience = Experience(policy, value, reference, controller, config)
        update = PpoUpdate(trainer, value_trainer, config)

        def step(number: int) -> dict[str, float]:
            batch, metrics = rollouts.collect(number)
            if batch is None or batch.rewards.isnan().all():  # every group dropped, or nothing judged
                return metrics
            targets, found = experience(batch)
            rng = random.Random(derive(context.seed, context.job.id, number, "update"))
            return metrics | found | update(batch, targets, rng)

        states = {"sampler": sampler, "value": value_trainer, "kl": controller}
        StepLoop(context, trainer, config.steps, states).run(step)

    def _trainer(self, context: StageContext, policy: LanguageModel) -> Trainer:
        """Return the policy's trainer, with the pretraining mix where there is one."""
        config: PpoConfig = self.config
        if config.pretraining is None:
            return Trainer(policy, config, config.optimizer_steps)
        mix = gather_mix(context, policy, config, config.pretraining)
        return MixedTrainer(policy, config, config.optimizer_steps, mix)

    def _value(self, context: StageContext, policy: LanguageModel) -> ValueModel:
        """Return the value function, as `value_init` says.

        Raises:
            ConfigError: If it shall start from a reward model, and the recipe gives none.
            PolicyError: If the checkpoint is of the wrong kind, or has another tokenizer than the policy.
        """
        models = context.inputs("reward_models")
        if self.config.value_init == "policy" or (self.config.value_init == "auto" and not models):
            seed = derive(context.seed, context.job.id, "value")
            return ValueModel.from_policy(context.init_path, context.device, seed)
        if not models:
            raise ConfigError(
                f"stage {context.job.id!r} has value_init: reward-model, and no reward model to start from",
                fix="add reward_models: [STAGE], or set value_init: policy",
                owner=OWNER,
            )
        value = ValueModel.from_reward_model(models[0], context.device)
        self._check_tokenizer(context, policy, value, f"the reward model {models[0]!r}")
        return value

    def _reference(self, context: StageContext, policy: LanguageModel) -> Reference | None:
        """Return what the KL penalty refers to: the model that the recipe names, else the start; None without one."""
        if not self.config.penalises_kl:
            return None
        return Reference(context.input("reference") or context.init_path, policy)

    def _check_tokenizer(self, context: StageContext, policy: LanguageModel, other: LanguageModel, what: str) -> None:
        difference = policy.identity.difference(other.identity)
        if difference:
            raise PolicyError(
                f"stage {context.job.id!r}: {what} has another tokenizer than the policy: {difference}",
                fix="use a model of the same family",
                owner=OWNER,
            )

    def _check(self, context: StageContext) -> None:
        """Refuse what the stage would not use, and strategies that hold one model only.

        Raises:
            ConfigError: Says which.
        """
        config, stage = self.config, context.job.id
        strategy = context.world.launch.strategy
        if strategy.startswith("zero"):
            raise ConfigError(
                f"stage {stage!r} trains two models, policy and value function, and strategy {strategy!r} holds one",
                fix="use launch: {strategy: fsdp2}, or ddp",
                owner=OWNER,
            )
        if context.inputs("reference") and not config.penalises_kl:
            raise ConfigError(
                f"stage {stage!r} has a reference, and kl_coefficient 0 reads none",
                fix="set kl_coefficient, or leave the reference out",
                owner=OWNER,
            )
        if context.inputs("reward_models") and config.value_init == "policy" and config.reward.use == VERIFIERS:
            raise ConfigError(
                f"stage {stage!r} has reward_models, and neither its reward nor value_init: policy reads one",
                fix="set value_init: reward-model, or leave reward_models out",
                owner=OWNER,
            )
