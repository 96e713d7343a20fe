"""Preference training: raise what people chose over what they rejected, without rollouts or a reward model.

The recipes: Llama 3 (arXiv 2407.21783): beta 0.1, formatting tokens masked, 0.2 NLL; Tulu 3 and OLMo 3 (arXiv
2512.13961): length-normalised, beta 5. Delta learning (OLMo 3) is this stage on pairs of a strong and a weak model.
"""

from __future__ import annotations

from functools import partial

from collegium import ConfigError, PolicyError, Stage
from collegium.training.context import StageContext
from collegium.training.language_model import LanguageModel
from collegium.training.loop import StepLoop
from collegium.training.packing import indices_of_step
from collegium.training.seeds import derive
from collegium.training.trainer import Trainer
from collegium_dpo.config import DpoConfig
from collegium_dpo.data import PairData, gather, unrelated
from collegium_dpo.loss_config import KtoLoss
from collegium_dpo.objective import formatting_ids
from collegium_dpo.pairs import OWNER
from collegium_dpo.reference import ReferenceScores
from collegium_dpo.update import PreferenceUpdate
from collegium_dpo.watch import CollapseWatch


class DpoStage(Stage):
    """Train on preference pairs."""

    Config = DpoConfig

    def run(self, context: StageContext) -> None:
        """Score the pairs with the reference, then run every step."""
        config: DpoConfig = self.config
        self._check_reference(context)
        # Left in evaluation mode: dropout would add noise to every comparison with the reference.
        policy = LanguageModel.load(context.init_path, context.device)
        data = gather(context, policy, config)
        update, reference = self._update(context, policy, data)
        watch = CollapseWatch(context, config.warn_chosen_drop)
        seed = self._order_seed(context)

        def step(number: int) -> dict[str, float]:
            before = self._heldout(update, data, "heldout_before") if number == 1 else {}
            metrics = update(indices_of_step(number, config.batch, data.trained, seed))
            after = self._heldout(update, data, "heldout") if number == config.steps else {}
            return metrics | before | after | watch(metrics)

        StepLoop(context, update.trainer, config.steps, {"reference": reference}).run(step)

    def _update(
        self, context: StageContext, policy: LanguageModel, data: PairData
    ) -> tuple[PreferenceUpdate, ReferenceScores]:
        config: DpoConfig = self.config
        formatting = formatting_ids(config.loss, policy.tokenizer)
        most = min(config.max_tokens, policy.context_length or config.max_tokens)
        others = unrelated(data.pairs, most) if isinstance(config.loss, KtoLoss) else []
        columns = [[pair.chosen for pair in data.pairs], [pair.rejected for pair in data.pairs]]
        seed = self._order_seed(context)
        steps = range(1, config.steps + 1)
        used = {index for step in steps for index in indices_of_step(step, config.batch, data.trained, seed)}
        reference = ReferenceScores(
            partial(self._load_reference, context, policy),
            [*columns, others] if others else columns,
            sorted(used | set(data.heldout)),
            formatting,
            2 * config.micro_batch,
        )
        trainer = Trainer(policy, config, config.steps)
        return PreferenceUpdate(trainer, config, data, reference, others, formatting), reference

    def _order_seed(self, context: StageContext) -> int:
        return derive(context.seed, context.job.id, "order")

    def _load_reference(self, context: StageContext, policy: LanguageModel) -> LanguageModel:
        """Load the reference: the model that the recipe names, else the one that the stage starts from.

        Raises:
            PolicyError: If its tokenizer is another one.
        """
        path = context.input("reference") or context.init_path
        model = LanguageModel.load(path, context.device).split()
        difference = policy.identity.difference(model.identity)
        if difference:
            raise PolicyError(
                f"stage {context.job.id!r}: the reference {path!r} has another tokenizer than the policy: {difference}",
                fix="use a reference of the same family",
                owner=OWNER,
            )
        return model

    def _check_reference(self, context: StageContext) -> None:
        """Refuse a reference that the loss does not read.

        Raises:
            ConfigError: If the recipe gives one to a loss without.
        """
        if context.input("reference") is not None and not self.config.loss.needs_reference:
            raise ConfigError(
                f"stage {context.job.id!r} has a reference, and {self.config.loss.use} reads none",
                fix="leave the reference out, or use another loss",
                owner=OWNER,
            )

    def _heldout(self, update: PreferenceUpdate, data: PairData, prefix: str) -> dict[str, float]:
        """Return the figures of the pairs kept aside; none without such pairs."""
        found = update.measure(data.heldout) if data.heldout else {}
        return {f"{prefix}/{name}": value for name, value in found.items()}
