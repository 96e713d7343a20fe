"""The policy update: a batch with its weights and advantages, through the loss, to optimizer steps.

Shapes: ``B`` sequences, ``T`` tokens, ``N`` trained tokens in row-major mask order.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from collegium.kinds.loss import Loss
from collegium.training.batch import RolloutBatch
from collegium.training.language_model import LanguageModel
from collegium.training.logprobs import scatter_to_tokens, token_logprobs
from collegium.training.streams import TokenStreams
from collegium.training.trainer import Trainer

WeigherOf = Callable[[RolloutBatch], Tensor]
"""Returns what each token of an optimizer step's batch counts, ``[B, T]``."""


class PolicyUpdate:
    """Train on one batch of rollouts.

    Args:
        trainer: Does the optimizer steps.
        loss: The per-token loss.
        weights_of: Token weights of an optimizer step's rows, so that its loss is ``sum(weights * loss)``.
        micro_batch: Sequences of one forward and backward pass.
        epochs: Passes over the batch.
        minibatches: Optimizer steps of one pass, each on its share of the rows.
    """

    def __init__(
        self,
        trainer: Trainer,
        loss: Loss,
        weights_of: WeigherOf,
        *,
        micro_batch: int,
        epochs: int = 1,
        minibatches: int = 1,
    ) -> None:
        self.trainer = trainer
        self.loss = loss
        self.weights_of = weights_of
        self.micro_batch = micro_batch
        self.epochs = epochs
        self.minibatches = minibatches

    @property
    def steps(self) -> int:
        """Optimizer steps of one batch."""
        return self.epochs * self.minibatches

    def __call__(self, batch: RolloutBatch, rng: random.Random) -> dict[str, float]:
        """Train on the batch and return the metrics, averaged over its optimizer steps."""
        gathered: defaultdict[str, list[float]] = defaultdict(list)
        for _ in range(self.epochs):
            for rows in _split(len(batch), self.minibatches, rng):
                for name, value in self._step(batch.select(rows)).items():
                    gathered[name].append(value)
        return {name: sum(values) / len(values) for name, values in gathered.items()}

    def _step(self, batch: RolloutBatch) -> dict[str, float]:
        batch.token_weights = self.weights_of(batch)
        stats: defaultdict[str, float] = defaultdict(float)
        trained = int(batch.completion_mask.sum())

        def loss_of(rows: Sequence[int]) -> Tensor:
            part = batch.select(rows).to(self.trainer.policy.device)
            streams, entropy = policy_streams(self.trainer.policy, part, self.loss.needs)
            output = self.loss.per_token(streams)
            for name, values in (*output.stats.items(), ("entropy", entropy)):
                stats[name] += float(values[part.completion_mask].sum()) / trained
            return (part.token_weights * output.loss)[part.completion_mask].sum()

        parts = micro_batches(batch, self.micro_batch)
        losses = [lambda rows=rows: loss_of(rows) for rows in parts]
        metrics = self.trainer.step(losses, [sample.task.id for sample in batch.samples])
        return {**metrics, **stats}


def policy_streams(
    policy: LanguageModel, batch: RolloutBatch, needs: frozenset[str]
) -> tuple[TokenStreams, Tensor]:
    """Run the policy forward and return what the loss reads, and the policy's entropy ``[B, T]``.

    Where the batch has no `old` stream, the weights are still those of the rollouts, and `old` is `current` without gradient.
    """
    mask = batch.completion_mask
    states = policy.predicting_states(batch)
    values, entropies = token_logprobs(states, policy.head, batch.token_ids[mask], bias=policy.head_bias)
    current = scatter_to_tokens(values, mask)
    name = batch.teachers[0] if batch.teachers else ""
    hidden = "hidden" in needs
    streams = TokenStreams(
        mask=mask,
        current=current,
        old=current.detach() if batch.old is None else batch.old,
        behaviour=batch.behaviour,
        reference=batch.reference,
        teacher=batch.teacher,
        advantage=batch.advantage,
        hidden=states if hidden else None,
        head=policy.head if hidden else None,
        teacher_hidden=torch.cat(batch.teacher_hidden) if batch.teacher_hidden is not None else None,
        teacher_head=batch.teacher_heads.get(name) if batch.teacher_hidden is not None else None,
        token_ids=batch.token_ids,
    )
    return streams, scatter_to_tokens(entropies.detach(), mask)


def micro_batches(batch: RolloutBatch, size: int) -> list[list[int]]:
    """Split the rows into parts of at most `size`, rows of one teacher and of like length together."""
    lengths = batch.attention_mask.sum(dim=1).tolist()
    teachers = batch.teachers if batch.teacher_hidden is not None else [""] * len(batch)
    by_teacher: defaultdict[str, list[int]] = defaultdict(list)
    for row in sorted(range(len(batch)), key=lambda row: lengths[row]):
        by_teacher[teachers[row]].append(row)
    return [
        rows[start : start + size] for _, rows in sorted(by_teacher.items()) for start in range(0, len(rows), size)
    ]


def _split(count: int, parts: int, rng: random.Random) -> list[list[int]]:
    """Split the rows into random parts of (almost) equal size; one part keeps their order."""
    rows = list(range(count))
    if parts == 1:
        return [rows]
    rng.shuffle(rows)
    bounds = [round(count * part / parts) for part in range(parts + 1)]
    return [rows[low:high] for low, high in zip(bounds, bounds[1:], strict=False) if high > low]
