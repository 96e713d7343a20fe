"""Supervised fine-tuning: imitate the completions of demonstrations.

The loss is the mean negative log-prob of the completions' tokens, end of sequence included; prompts are read, never
trained. Raw text may be mixed in, all of which is trained.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from collegium import DataError, Demonstration, Stage
from collegium.kinds.data_files import locate
from collegium.training.context import StageContext
from collegium.training.language_model import LanguageModel
from collegium.training.packing import Example
from collegium.training.seeds import derive
from collegium.training.supervised import expanded, train_on_examples
from collegium.training.supervised_data import demonstration_examples, read_labelled, refuse_held_out
from collegium_sft.configs import SftConfig
from collegium_sft.mixture import OTHER, TEXT, shares_of, weighted_order
from collegium_sft.pretrain import cut, read_documents
from collegium_sft.selection import chosen_domains

T = TypeVar("T")
Labelled = tuple[str, Example]
"""An example with its domain."""


class SftStage(Stage):
    """Fine-tune on demonstrations of the domains, of files, and of earlier stages."""

    Config = SftConfig

    def run(self, context: StageContext) -> None:
        """Gather the examples and train on them."""
        policy = LanguageModel.load(context.init_path, context.device)
        found = self.examples(context, policy)
        read = expanded(policy, [example for _, example in found])
        labelled = self.fitting(
            context, policy, [(domain, example) for (domain, _), example in zip(found, read, strict=True)]
        )
        texts = self.texts(context, policy) if self.config.text_share else []
        order = self.order(context, [domain for domain, _ in labelled], len(texts))
        examples = [*(example for _, example in labelled), *texts]
        train_on_examples(context, policy, examples, self.config, order)

    def examples(self, context: StageContext, policy: LanguageModel) -> list[Labelled]:
        """Return every example with its domain: the domains' by name, then those of files and of earlier stages.

        Raises:
            DataError: If there is none, or a file is missing, truncated or malformed.
        """
        shown = self.demonstrations(context)
        made = demonstration_examples(policy.tokenizer, shown)
        labelled = [(each.task.domain, example) for each, example in zip(shown, made, strict=True)]
        for file in [*map(locate, self.config.data), *map(Path, context.inputs("data_from"))]:
            rows = self.limited(context, read_labelled(policy.tokenizer, file), self.config.limit, file.name)
            refuse_held_out(policy.tokenizer, [example for _, example in rows], context.held_out_tasks, str(file))
            labelled += [(domain or OTHER, example) for domain, example in rows]
        if not labelled:
            raise DataError(
                f"stage {context.job.id!r} has nothing to imitate: no domain has demonstrations and no data is given",
                fix="give a domain whose task source has demonstrations, or data:, or data_from:",
            )
        return labelled

    def demonstrations(self, context: StageContext) -> list[Demonstration]:
        """Return the demonstrations of the chosen domains, at most `max_per_domain` of each."""
        offered = context.demonstrations()
        most = self.config.max_per_domain
        return [
            each
            for name in chosen_domains(self.config.domains, offered, context.job.id)
            for each in self.limited(context, offered[name], most, "demonstrations", name)
        ]

    def limited(self, context: StageContext, found: Sequence[T], most: int | None, *what: str) -> list[T]:
        """Return at most `most`, chosen by the seed."""
        if most is None or len(found) <= most:
            return list(found)
        return random.Random(derive(context.seed, context.job.id, *what)).sample(found, most)

    def fitting(self, context: StageContext, policy: LanguageModel, labelled: Sequence[Labelled]) -> list[Labelled]:
        """Return the examples that are not too long; say how many others there are, where they are left out.

        Raises:
            DataError: If none is left.
        """
        if self.config.too_long == "refuse":
            return list(labelled)  # training refuses them
        most = min(self.config.row_tokens, policy.context_length or self.config.row_tokens)
        kept = [each for each in labelled if len(each[1].token_ids) <= most]
        if not kept:
            raise DataError(
                f"stage {context.job.id!r}: all {len(labelled)} examples are longer than the {most} tokens that fit",
                fix="raise row_tokens (at most the model's context)",
            )
        if len(kept) < len(labelled):
            dropped = Counter(domain for domain, _ in labelled) - Counter(domain for domain, _ in kept)
            said = ", ".join(f"{domain} {count}" for domain, count in sorted(dropped.items()))
            context.message(
                f"{len(labelled) - len(kept)} of {len(labelled)} examples are longer than {most} tokens and left out: "
                f"{said}"
            )
        return kept

    def texts(self, context: StageContext, policy: LanguageModel) -> list[Example]:
        """Return raw text as examples of at most a row, all of it trained.

        Raises:
            DataError: If there is none, or it holds a held-out prompt.
        """
        if self.config.text is None:
            texts = [(f"{name}/text", text) for name, own in context.texts().items() for text in own if text]
        else:
            texts = read_documents(locate(self.config.text))
            context.refuse_held_out([text for _, text in texts], f"the documents of {self.config.text!r}")
        if not texts:
            raise DataError(
                f"stage {context.job.id!r} has text_share {self.config.text_share:g} and no text: no domain's task "
                "source offers any and text: is not given",
                fix="give text: FILE, or a domain whose task source has texts()",
            )
        return [piece for name, text in texts for piece in cut(policy.tokenizer, text, name, self.config.row_tokens)]

    def order(self, context: StageContext, domains: Sequence[str], texts: int) -> list[int] | None:
        """Return which example comes when, where domains or raw text have shares; None for epochs over all.

        Args:
            context: The stage's context.
            domains: The domain of each example.
            texts: How many examples of raw text follow them.
        """
        if not (self.config.weights or texts):
            return None
        shares = shares_of(self.config.weights, self.config.text_share, domains)
        parts: dict[str, list[int]] = {name: [] for name in shares}
        for index, name in enumerate([*domains, *[TEXT] * texts]):
            parts[name].append(index)
        said = ", ".join(f"{name} {share:.3g} ({len(parts[name])} examples)" for name, share in shares.items())
        context.message(f"shares of the batches: {said}")
        total = self.config.steps * self.config.batch
        return weighted_order(parts, shares, total, derive(context.seed, context.job.id, "order"))
