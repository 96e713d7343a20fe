"""Steps on pairs: forward, loss, update, and the figures that tell how it goes.

Shapes: ``B`` pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from collegium.training.packing import Example
from collegium.training.trainer import Trainer
from collegium_dpo.config import DpoConfig
from collegium_dpo.data import PairData
from collegium_dpo.loss_config import KtoLoss
from collegium_dpo.objective import ScoredPairs, pair_losses
from collegium_dpo.reference import ReferenceScores
from collegium_dpo.scores import score_sequences

Figures = dict[str, Tensor]
"""Figures by name, one number per pair."""


class PreferenceUpdate:
    """Train on pairs, and measure others the same way.

    Args:
        trainer: Holds weights and optimizer.
        config: The stage's options.
        data: The pairs.
        reference: The reference's log-probs of them.
        unrelated: Prompts with completions of other prompts, one per pair; KTO needs them.
        formatting: ``[F]`` int64 ids that the preference term leaves out.
    """

    def __init__(
        self,
        trainer: Trainer,
        config: DpoConfig,
        data: PairData,
        reference: ReferenceScores,
        unrelated: Sequence[Example],
        formatting: Tensor,
    ) -> None:
        self.trainer = trainer
        self.config = config
        self.data = data
        self.reference = reference
        self.unrelated = unrelated
        self.formatting = formatting

    def __call__(self, indices: Sequence[int]) -> dict[str, float]:
        """Do one optimizer step on the mean loss of the pairs."""
        self.reference.of(indices)  # computed by all ranks together, before their micro-batches part them
        kl = self._divergence(indices)
        parts: list[Figures] = []

        def loss_of(part: Sequence[int]) -> Tensor:
            loss, figures = self._score(part, kl)
            parts.append(figures)
            return loss.sum() / len(indices)

        names = [self.data.pairs[index].chosen.name for index in indices]
        trained = self.trainer.step([partial(loss_of, part) for part in self._parts(indices)], names)
        return {**means(self.trainer.world.gather(parts)), **trained, **self._kl_metric(kl)}

    @torch.no_grad()
    def measure(self, indices: Sequence[int]) -> dict[str, float]:
        """Return the figures of pairs without training on them."""
        kl = self._divergence(indices)
        return means([self._score(part, kl)[1] for part in self._parts(indices)])

    def _score(self, indices: Sequence[int], kl: float) -> tuple[Tensor, Figures]:
        """Return the losses ``[B]`` with their gradient, and the figures."""
        pairs = [self.data.pairs[index] for index in indices]
        examples = [*(pair.chosen for pair in pairs), *(pair.rejected for pair in pairs)]
        chosen, rejected = score_sequences(self.trainer.policy, examples, self.formatting).split(len(pairs))
        reference = self.reference.of(indices).to(chosen.logprob)
        scored = ScoredPairs(chosen, rejected, reference[:, 0], reference[:, 1], kl)
        loss, margin = pair_losses(self.config.loss, scored)
        return loss, figures_of(scored, loss.detach(), margin.detach())

    @torch.no_grad()
    def _divergence(self, indices: Sequence[int]) -> float:
        """Return KTO's estimate of the KL to the reference: the mean change of unrelated completions, at least 0."""
        if not isinstance(self.config.loss, KtoLoss):
            return 0.0
        changes = []
        for part in self._parts(indices):
            scores = score_sequences(self.trainer.policy, [self.unrelated[index] for index in part], self.formatting)
            changes.append(scores.logprob - self.reference.of(part)[:, 2].to(scores.logprob))
        return max(0.0, float(torch.cat(changes).mean()))

    def _kl_metric(self, kl: float) -> dict[str, float]:
        return {"kl": kl} if isinstance(self.config.loss, KtoLoss) else {}

    def _parts(self, indices: Sequence[int]) -> Iterator[list[int]]:
        """Deal pairs into micro-batches of like length."""
        ordered = sorted(indices, key=lambda index: (self.data.pairs[index].length, index))
        for start in range(0, len(ordered), self.config.micro_batch):
            yield ordered[start : start + self.config.micro_batch]


def figures_of(pairs: ScoredPairs, loss: Tensor, margin: Tensor) -> Figures:
    """Return each pair's figures, without gradient."""
    chosen_change, rejected_change = pairs.changes()
    figures = {
        "loss": loss,
        "margin": margin,
        "accuracy": (margin > 0).float(),
        "chosen_logprob": pairs.chosen.logprob,
        "rejected_logprob": pairs.rejected.logprob,
        "chosen_change": chosen_change,
        "rejected_change": rejected_change,
        "chosen_tokens": pairs.chosen.tokens.float(),
        "rejected_tokens": pairs.rejected.tokens.float(),
        "nll": pairs.chosen.nll,
    }
    return {name: values.detach() for name, values in figures.items()}


def means(parts: Sequence[Figures]) -> dict[str, float]:
    """Return the mean over all pairs of each figure."""
    return {name: float(torch.cat([part[name] for part in parts]).mean()) for name in parts[0]}
