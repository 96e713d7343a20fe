"""Log-probs of completions, as the preference losses read them.

Shapes: ``B`` sequences, ``T`` tokens, ``N`` trained tokens in row-major mask order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from collegium import DataError
from collegium.training.language_model import LanguageModel
from collegium.training.logprobs import scatter_to_tokens
from collegium.training.packing import Example, lay_out
from collegium.training.preference import sequence_logprobs
from collegium.training.tokenizers import padding
from collegium_dpo.pairs import OWNER


@dataclass(frozen=True, slots=True)
class SequenceScores:
    """Log-probs of completions.

    Args:
        logprob: ``[B]`` summed over the tokens of the preference term.
        tokens: ``[B]`` how many those are.
        nll: ``[B]`` mean negative log-prob of all the completion's tokens, end of sequence included.
    """

    logprob: Tensor
    tokens: Tensor
    nll: Tensor

    @property
    def mean(self) -> Tensor:
        """The mean log-prob of a token of the preference term, ``[B]``."""
        return self.logprob / self.tokens

    def split(self, first: int) -> tuple[SequenceScores, SequenceScores]:
        """Return the scores of the first sequences and those of the others."""
        parts = [(part[:first], part[first:]) for part in (self.logprob, self.tokens, self.nll)]
        return SequenceScores(*(one for one, _ in parts)), SequenceScores(*(other for _, other in parts))


def score_sequences(policy: LanguageModel, examples: Sequence[Example], formatting: Tensor) -> SequenceScores:
    """Run the model over examples, one per row, and return their completions' log-probs with gradient.

    Args:
        policy: The model.
        examples: Prompts with completions.
        formatting: ``[F]`` int64 ids that are left out of the preference term.

    Raises:
        DataError: If a completion consists of formatting tokens only.
    """
    rows = lay_out([[example] for example in examples], padding(policy.tokenizer))
    token_ids, trained = rows.token_ids.to(policy.device), rows.trained.to(policy.device)
    mask = rows.attention_mask(policy.compute_dtype).to(policy.device)
    values = policy.trained_logprobs(token_ids, mask, rows.position_ids.to(policy.device), trained)
    logprobs = scatter_to_tokens(values, trained)
    compared = trained & ~torch.isin(token_ids, formatting.to(policy.device))
    _check_something_left(examples, compared.sum(dim=1))
    return SequenceScores(
        sequence_logprobs(logprobs, compared, mean=False),
        compared.sum(dim=1),
        -sequence_logprobs(logprobs, trained, mean=True),
    )


def _check_something_left(examples: Sequence[Example], tokens: Tensor) -> None:
    for example, count in zip(examples, tokens.tolist(), strict=True):
        if not count:
            raise DataError(
                f"pair {example.name!r} has a completion of formatting tokens only; nothing of it is compared",
                fix="take the pair out, or shorten formatting_tokens",
                owner=OWNER,
            )
