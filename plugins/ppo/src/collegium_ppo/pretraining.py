"""PPO-ptx: the gradient of language modelling, added to the policy's in the same optimizer step.

Source: InstructGPT (arXiv 2203.02155, equation 2). It does not say what its gamma multiplies; here it is the mean loss
of a text token, as the policy's loss is a mean over tokens.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from collegium import DataError
from collegium.training.context import StageContext
from collegium.training.language_model import LanguageModel
from collegium.training.packing import Example, indices_of_step, pad
from collegium.training.seeds import derive
from collegium.training.supervised import trained_logprobs
from collegium.training.tokenizers import encode_completion
from collegium.training.trainer import LossOf, Trainer
from collegium_ppo.config import OWNER, PpoConfig, PretrainingConfig

ROWS_OF_A_ROLLOUT = 8
"""InstructGPT: texts of an optimizer step for each of its rollouts."""


class PretrainingMix:
    """The texts, and their loss at each optimizer step.

    Args:
        examples: The texts, cut.
        weight: What the mean loss of a text token counts.
        rows: Texts of a step.
        micro_batch: Texts of one forward and backward pass.
        seed: Of their order.
    """

    def __init__(self, examples: Sequence[Example], weight: float, rows: int, micro_batch: int, seed: int) -> None:
        self.examples = examples
        self.weight = weight
        self.rows = rows
        self.micro_batch = micro_batch
        self.seed = seed
        self.summed = 0.0
        """Negative log-prob of the texts that this rank ran since `losses` was called."""

    def losses(self, policy: LanguageModel, step: int) -> tuple[list[LossOf], int]:
        """Return the micro-batches of an optimizer step, counted from 1, and how many tokens they train."""
        self.summed = 0.0
        chosen = [self.examples[index] for index in indices_of_step(step, self.rows, len(self.examples), self.seed)]
        trained = sum(len(example.token_ids) - example.start for example in chosen)
        rows = pad(chosen)
        parts = [rows[start : start + self.micro_batch] for start in range(0, len(rows), self.micro_batch)]
        return [partial(self._loss_of, policy, part, trained) for part in parts], trained

    def _loss_of(self, policy: LanguageModel, part: Sequence[Sequence[Example]], trained: int) -> Tensor:
        loss = -trained_logprobs(policy, part).sum()
        self.summed += float(loss.detach())
        return self.weight * loss / trained


class MixedTrainer(Trainer):
    """A trainer whose every step adds the gradient of a pretraining mix.

    Args:
        policy: The model.
        config: Optimizer and schedule.
        total_steps: Optimizer steps of the whole stage.
        mix: The texts.
    """

    def __init__(self, policy: LanguageModel, config: PpoConfig, total_steps: int, mix: PretrainingMix) -> None:
        super().__init__(policy, config, total_steps)
        self.mix = mix

    def step(self, losses: Sequence[LossOf | None], task_ids: Sequence[str] = ()) -> dict[str, float]:
        """Do a step on the losses and the mix's; its texts follow from the number of steps done."""
        more, trained = self.mix.losses(self.policy, self.steps + 1)
        metrics = super().step([*losses, *more], task_ids)
        return {**metrics, "pretraining/loss": float(self.world.total(self.mix.summed)) / trained}


def gather_mix(
    context: StageContext, policy: LanguageModel, config: PpoConfig, options: PretrainingConfig
) -> PretrainingMix:
    """Read and cut the texts.

    Raises:
        DataError: If there is none, or one holds a held-out prompt.
    """
    if options.text is not None:
        texts = read_documents(Path(options.text))
        context.refuse_held_out(texts, f"the documents of {options.text!r}")
    else:
        texts = [text for _, offered in sorted(context.texts().items()) for text in offered]
    most = min(options.row_tokens, policy.context_length or options.row_tokens)
    examples = [piece for text in texts for piece in cut(policy.tokenizer, text, most)]
    if not examples:
        raise DataError(
            f"stage {context.job.id!r} has nothing for pretraining: no domain's task source offers a text",
            fix="give pretraining: {text: FILE}, or a domain whose task source has texts()",
            owner=OWNER,
        )
    rollouts = -(-config.prompts * config.group // config.minibatches)
    rows = options.rows or ROWS_OF_A_ROLLOUT * rollouts
    seed = derive(context.seed, context.job.id, "pretraining")
    return PretrainingMix(examples, options.weight, rows, config.micro_batch, seed)


def read_documents(path: Path) -> list[str]:
    """Return the documents of a text file, which blank lines separate.

    Raises:
        DataError: If it cannot be read or is empty.
    """
    try:
        text = path.read_text(encoding="utf-8").strip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"text file {str(path)!r} cannot be read: {error}", fix="check pretraining.text", owner=OWNER
        ) from error
    documents = [part for part in re.split(r"\n\s*\n", text) if part.strip()]
    if not documents:
        raise DataError(
            f"text file {str(path)!r} is empty, expected at least one document",
            fix="check pretraining.text",
            owner=OWNER,
        )
    return documents


def cut(tokenizer: PreTrainedTokenizerBase, text: str, most: int) -> list[Example]:
    """Cut a document, end of sequence included, into pieces of at most `most` tokens; each one's first is only read."""
    ids = encode_completion(tokenizer, text)
    pieces = [tuple(ids[start : start + most]) for start in range(0, len(ids), most)]
    return [Example(piece, 1, text[:20]) for piece in pieces if len(piece) > 1]
