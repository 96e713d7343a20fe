"""Supervised steps: next-token prediction on examples, packed or padded, with the step loop around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from torch import Tensor

from collegium.errors import ConfigError
from collegium.training.context import StageContext
from collegium.training.language_model import LanguageModel
from collegium.training.loop import StepLoop
from collegium.training.packing import Example, check_length, indices_of_step, lay_out, pack, pad
from collegium.training.seeds import derive
from collegium.training.supervised_config import SupervisedConfig
from collegium.training.tokenizers import padding
from collegium.training.trainer import Trainer
from collegium.training.vision import Vision, refuse_pictures


def train_on_examples(
    context: StageContext,
    policy: LanguageModel,
    examples: Sequence[Example],
    config: SupervisedConfig,
    order: Sequence[int] | None = None,
) -> None:
    """Train on examples and leave the model in the stage's output.

    Args:
        context: The stage's context.
        policy: What to train.
        examples: What to train on.
        config: Steps, batches and their layout.
        order: Index of the example at each position of all steps' batches; by default each is there once per epoch.

    Raises:
        ConfigError: If the model cannot keep packed examples apart.
        DataError: If an example is too long for a row or for the model, or its pictures have no placeholders.
        PolicyError: If a loss is not finite, or examples have pictures and the model reads text alone.
    """
    examples = expanded(policy, examples)
    most = min(config.row_tokens, policy.context_length or config.row_tokens)
    for example in examples:
        check_length(example, most)
    longest = max(len(example.token_ids) for example in examples)
    if config.layout == "packed" and not policy.can_pack(longest):
        raise ConfigError(
            f"layout: packed cannot keep examples of {longest} tokens apart in a {type(policy.model).__name__}",
            fix="use layout: length-grouped",
        )
    policy.model.train()
    trainer = Trainer(policy, config, config.steps)
    seed = derive(context.seed, context.job.id, "order")

    def step(number: int) -> dict[str, float]:
        if order is None:
            indices: Sequence[int] = indices_of_step(number, config.batch, len(examples), seed)
        else:
            indices = order[(number - 1) * config.batch : number * config.batch]
        return supervised_step(trainer, [examples[index] for index in indices], config)

    StepLoop(context, trainer, config.steps).run(step)


def supervised_step(trainer: Trainer, examples: Sequence[Example], config: SupervisedConfig) -> dict[str, float]:
    """Do one optimizer step on the mean loss of the examples' trained tokens."""
    rows = pack(examples, config.row_tokens) if config.layout == "packed" else pad(examples)
    trained = sum(example.trained_tokens for example in examples)

    def loss_of(part: Sequence[Sequence[Example]]) -> Tensor:
        return -trained_logprobs(trainer.policy, part).sum() / trained

    parts = [rows[start : start + config.micro_batch] for start in range(0, len(rows), config.micro_batch)]
    metrics = trainer.step([partial(loss_of, part) for part in parts], [each.name for each in examples])
    return {**metrics, "tokens": float(trained), "rows": float(len(rows))}


def trained_logprobs(policy: LanguageModel, rows: Sequence[Sequence[Example]]) -> Tensor:
    """Return the log-prob of each trained token of laid-out examples, ``[N]``."""
    laid = lay_out(rows, padding(policy.tokenizer))
    token_ids, trained = laid.token_ids.to(policy.device), laid.trained.to(policy.device)
    mask = laid.attention_mask(policy.compute_dtype).to(policy.device)
    pictures = policy.vision.at(laid.slots.to(policy.device), laid.images) if policy.vision is not None else None
    return policy.trained_logprobs(token_ids, mask, laid.position_ids.to(policy.device), trained, pictures)


def expanded(policy: LanguageModel, examples: Sequence[Example]) -> list[Example]:
    """Return examples as the model reads them: each picture's placeholder as often as it has tokens.

    Those that are so already stay as they are.

    Raises:
        DataError: If an example has more or fewer placeholders than pictures.
        PolicyError: If there are pictures and the model reads text alone.
    """
    if policy.vision is None:
        refuse_pictures([example.images for example in examples], f"the model (a {type(policy.model).__name__})")
        return list(examples)
    return [example if example.slots else _expanded(policy.vision, example) for example in examples]


def _expanded(vision: Vision, example: Example) -> Example:
    ids, slots = vision.expanded(example.token_ids, example.images, example.name)
    before = sum(each == vision.token_id for each in example.token_ids[: example.start])
    growth = sum(vision.read(image).tokens - 1 for image in example.images[:before])
    return replace(example, token_ids=tuple(ids), start=example.start + growth, slots=tuple(slots))
