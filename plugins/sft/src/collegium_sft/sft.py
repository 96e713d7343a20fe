"""Supervised fine-tuning: imitate the completions of demonstrations.

The loss is the mean negative log-prob of the completions' tokens, end of sequence included; prompts are read, never
trained.
"""

from __future__ import annotations

import random
from pathlib import Path

from collegium import DataError, Demonstration, Stage
from collegium.training.context import StageContext
from collegium.training.language_model import LanguageModel
from collegium.training.packing import Example
from collegium.training.seeds import derive
from collegium.training.supervised import train_on_examples
from collegium.training.supervised_data import demonstration_examples, read_examples, refuse_held_out
from collegium_sft.configs import SftConfig
from collegium_sft.selection import chosen_domains


class SftStage(Stage):
    """Fine-tune on demonstrations of the domains, of a file, and of earlier stages."""

    Config = SftConfig

    def run(self, context: StageContext) -> None:
        """Gather the examples and train on them."""
        policy = LanguageModel.load(context.init_path, context.device)
        train_on_examples(context, policy, self.examples(context, policy), self.config)

    def examples(self, context: StageContext, policy: LanguageModel) -> list[Example]:
        """Return every example: the domains' by name, then those of files.

        Raises:
            DataError: If there is none, or a file is missing, truncated or malformed.
        """
        examples = demonstration_examples(policy.tokenizer, self.demonstrations(context))
        files = [*([self.config.data] if self.config.data else []), *context.inputs("data_from")]
        for file in files:
            rows = read_examples(policy.tokenizer, Path(file))
            refuse_held_out(policy.tokenizer, rows, context.held_out_tasks, file)
            examples += rows
        if not examples:
            raise DataError(
                f"stage {context.job.id!r} has nothing to imitate: no domain has demonstrations and no data is given",
                fix="give a domain whose task source has demonstrations, or data:, or data_from:",
            )
        return examples

    def demonstrations(self, context: StageContext) -> list[Demonstration]:
        """Return the demonstrations of the chosen domains, at most `max_per_domain` of each."""
        offered = context.demonstrations()
        chosen: list[Demonstration] = []
        for name in chosen_domains(self.config.domains, offered, context.job.id):
            demonstrations = offered[name]
            most = self.config.max_per_domain
            if most is not None and len(demonstrations) > most:
                rng = random.Random(derive(context.seed, context.job.id, "demonstrations", name))
                demonstrations = rng.sample(demonstrations, most)
            chosen += demonstrations
        return chosen
