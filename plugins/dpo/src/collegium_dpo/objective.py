"""A preference loss on scored pairs: which log-probs it compares, and how.

Shapes: ``B`` pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from collegium import ConfigError
from collegium_dpo.loss_config import DpoLoss, IpoLoss, KtoLoss, OrpoLoss, PreferenceLossConfig, SimpoLoss
from collegium_dpo.losses import ipo_loss, kto_loss, log_odds_ratio, smoothed_logistic
from collegium_dpo.pairs import OWNER
from collegium_dpo.scores import SequenceScores


@dataclass(frozen=True, slots=True)
class ScoredPairs:
    """A micro-batch of pairs.

    Args:
        chosen: Scores of the better completions.
        rejected: Scores of the worse ones.
        reference_chosen: ``[B]`` the reference's summed log-probs of the better completions' compared tokens.
        reference_rejected: ``[B]`` of the worse ones'.
        kl: The policy's divergence from the reference; KTO reads it.
    """

    chosen: SequenceScores
    rejected: SequenceScores
    reference_chosen: Tensor
    reference_rejected: Tensor
    kl: float = 0.0

    def changes(self, *, mean: bool = False) -> tuple[Tensor, Tensor]:
        """Return both completions' log-probs less the reference's: sums, or means over tokens, ``[B]`` each."""
        chosen = self.chosen.logprob - self.reference_chosen
        rejected = self.rejected.logprob - self.reference_rejected
        return (chosen / self.chosen.tokens, rejected / self.rejected.tokens) if mean else (chosen, rejected)


def pair_losses(config: PreferenceLossConfig, pairs: ScoredPairs) -> tuple[Tensor, Tensor]:
    """Return each pair's loss and its margin, ``[B]`` each: what the loss pushes up, 0 where it sees no difference."""
    loss, margin = _preference_term(config, pairs)
    return loss + config.nll * pairs.chosen.nll, margin


def _preference_term(config: PreferenceLossConfig, pairs: ScoredPairs) -> tuple[Tensor, Tensor]:
    match config:
        case DpoLoss():
            chosen, rejected = pairs.changes(mean=config.length_normalise)
            margin = config.beta * (chosen - rejected)
            return smoothed_logistic(margin, config.label_smoothing), margin
        case IpoLoss():
            chosen, rejected = pairs.changes(mean=config.length_normalise)
            return ipo_loss(chosen, rejected, beta=config.beta), chosen - rejected
        case KtoLoss():
            chosen, rejected = pairs.changes()
            weights = {"desirable": config.desirable, "undesirable": config.undesirable}
            loss = kto_loss(chosen, rejected, chosen.new_tensor(pairs.kl), beta=config.beta, **weights)
            return loss, config.beta * (chosen - rejected)
        case OrpoLoss():
            margin = log_odds_ratio(pairs.chosen.mean, pairs.rejected.mean)
            return config.beta * smoothed_logistic(margin), margin
        case SimpoLoss():
            margin = config.beta * (pairs.chosen.mean - pairs.rejected.mean)
            return smoothed_logistic(margin - config.gamma, config.label_smoothing), margin
    raise TypeError(f"no preference loss is described by a {type(config).__name__}")


def formatting_ids(config: PreferenceLossConfig, tokenizer: PreTrainedTokenizerBase) -> Tensor:
    """Return the ids that the preference term leaves out, ``[F]`` int64.

    Raises:
        ConfigError: If a formatting token is not in the vocabulary.
    """
    vocabulary = tokenizer.get_vocab()
    unknown = [token for token in config.formatting_tokens if token not in vocabulary]
    if unknown:
        raise ConfigError(
            f"formatting_tokens {unknown} are not in the tokenizer's vocabulary",
            fix="write each token as the vocabulary has it",
            owner=OWNER,
        )
    special = tokenizer.all_special_ids if config.mask_formatting else []
    return torch.tensor(
        sorted({*special, *(vocabulary[token] for token in config.formatting_tokens)}), dtype=torch.long
    )
