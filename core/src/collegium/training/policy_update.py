"""The policy update: a batch with its weights and advantages, through the loss, to optimizer steps.

Shapes: ``B`` sequences, ``T`` tokens, ``N`` trained tokens in row-major mask order.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise, zip_longest
from typing import TypeAlias

import torch
from torch import Tensor

from collegium.errors import PluginError, PolicyError
from collegium.kinds.loss import Loss
from collegium.training.aggregation import token_weights
from collegium.training.batch import RolloutBatch, deal
from collegium.training.distributed import World
from collegium.training.logprobs import scatter_to_tokens, token_logprobs
from collegium.training.rollout_config import RolloutConfig
from collegium.training.scoring import require_agreement
from collegium.training.streams import LossOutput, TokenStreams, require
from collegium.training.trainer import Trainer

SequenceWeights: TypeAlias = Callable[[RolloutBatch], Tensor]
"""Returns what each row of a batch counts, ``[B]``; a minibatch's rows keep the weights that they have in the batch."""


class PolicyUpdate:
    """Train on one batch of rollouts.

    Args:
        trainer: Does the optimizer steps.
        loss: The per-token loss.
        config: Epochs, minibatches, micro-batch and aggregation.
        sequence_weights: What each row counts; default: all alike.
    """

    def __init__(
        self, trainer: Trainer, loss: Loss, config: RolloutConfig, sequence_weights: SequenceWeights | None = None
    ) -> None:
        self.trainer = trainer
        self.loss = loss
        self.config = config
        self.sequence_weights = sequence_weights
        self._resident: tuple[Tensor, Tensor] | None = None

    def __call__(self, batch: RolloutBatch, rng: random.Random) -> dict[str, float]:
        """Train on the batch and return the metrics, averaged over its optimizer steps.

        Raises:
            EngineError: If the batch's sampled log-probs are not those of the trainer's weights.
        """
        started = time.perf_counter()
        gathered: defaultdict[str, list[float]] = defaultdict(list)
        weights = self.sequence_weights(batch) if self.sequence_weights else torch.ones(len(batch))
        owners = _owners(batch, self.trainer.world.size)
        for _ in range(self.config.epochs):
            for rows in _split(len(batch), self.config.minibatches, rng):
                if not bool(weights[rows].any()):
                    continue  # nothing weighs: a step on a zero gradient would still move along AdamW's momentum
                step = self._step(batch.select(rows), weights[rows], [owners[row] for row in rows])
                for name, value in step.items():
                    gathered[name].append(value)
        means = {name: sum(values) / len(values) for name, values in gathered.items()}
        if not self.config.staleness:  # then the weights that sampled are those that `old` is of
            gaps = gathered.get("behaviour_gap", [0.0])
            # A loss that does not read `old` has the present weights' instead, which only at first are the rollouts'.
            require_agreement(gaps[0] if batch.old is None else sum(gaps) / len(gaps), self.config.handshake)
        return {**means, "time/train": time.perf_counter() - started}

    def _step(self, batch: RolloutBatch, sequence_weights: Tensor, owners: Sequence[int]) -> dict[str, float]:
        batch.token_weights = self._token_weights(batch, sequence_weights)
        stats = TokenStats(batch)
        losses = [
            None if rows is None else partial(self._loss_of, batch, rows, stats)
            for rows in dealt_micro_batches(batch, self.config.micro_batch, owners, self.trainer.world.size)
        ]
        metrics = self.trainer.step(losses, [sample.task.id for sample in batch.samples])
        return {**metrics, **stats.means(self.trainer.world)}

    def _loss_of(self, batch: RolloutBatch, rows: Sequence[int], stats: TokenStats) -> Tensor:
        """Run one micro-batch and return its share of the step's loss."""
        part = batch.select(rows).to(self.trainer.policy.device)
        if part.teacher_hidden is not None:
            part.teacher_heads = {part.teachers[0]: self._head(part)}

        def read(states: Tensor, head: Tensor, bias: Tensor | None) -> Tensor:
            streams, entropy = policy_streams(part, states, head, bias, self.loss.needs)
            output = self._checked(self.loss.per_token(streams), part)
            gap = (require(streams, "old", "update") - require(streams, "behaviour", "update")).abs()
            stats.add(rows, part.completion_mask, {"entropy": entropy, "behaviour_gap": gap, **output.stats})
            weights = require(part, "token_weights", "update")
            return (weights * output.loss)[part.completion_mask].sum()

        return self.trainer.policy.read_completions(part, read)

    def _checked(self, output: LossOutput, part: RolloutBatch) -> LossOutput:
        if output.loss.shape != part.token_ids.shape:
            found, expected = list(output.loss.shape), list(part.token_ids.shape)
            raise PluginError(f"loss {type(self.loss).__name__} returned shape {found}, expected {expected}")
        return output

    def _head(self, part: RolloutBatch) -> Tensor:
        """Return the head of the rows' one teacher on the policy's device; the last one used stays there, no other."""
        head = part.teacher_heads[part.teachers[0]]
        if self._resident is None or self._resident[0] is not head:
            self._resident = (head, head.to(self.trainer.policy.device))
        return self._resident[1]

    def _token_weights(self, batch: RolloutBatch, sequence_weights: Tensor) -> Tensor:
        return token_weights(
            batch.completion_mask,
            self.config.aggregation,
            sequence_weights=sequence_weights,
            constant=self.config.sampling.max_tokens if self.config.aggregation == "constant" else None,
        )


class TokenStats:
    """Means of per-token statistics over a step's trained tokens, and over each teacher's where rows have teachers."""

    def __init__(self, batch: RolloutBatch) -> None:
        self.teachers = batch.teachers
        self._sums: defaultdict[str, float] = defaultdict(float)
        self._counts: defaultdict[str, int] = defaultdict(int)

    def add(self, rows: Sequence[int], mask: Tensor, stats: Mapping[str, Tensor]) -> None:
        """Add a micro-batch's statistics, ``[B, T]`` each."""
        for name, values in stats.items():
            self._add(name, values, mask)
            for teacher in sorted({self.teachers[row] for row in rows} - {""} if self.teachers else ()):
                theirs = torch.tensor([self.teachers[row] == teacher for row in rows], device=mask.device)
                self._add(f"{name}/{teacher}", values, mask & theirs[:, None])

    def means(self, ranks: World) -> dict[str, float]:
        """Return each statistic's mean over the trained tokens of all ranks."""
        sums: defaultdict[str, float] = defaultdict(float)
        counts: defaultdict[str, int] = defaultdict(int)
        for name, total, count in ranks.gather([(name, self._sums[name], self._counts[name]) for name in self._sums]):
            sums[name] += total
            counts[name] += count
        return {name: total / counts[name] for name, total in sorted(sums.items()) if counts[name]}

    def _add(self, name: str, values: Tensor, mask: Tensor) -> None:
        chosen = values.detach()[mask]
        self._sums[name] += float(chosen.sum())
        self._counts[name] += chosen.numel()


def policy_streams(
    batch: RolloutBatch, states: Tensor, head: Tensor, bias: Tensor | None, needs: frozenset[str]
) -> tuple[TokenStreams, Tensor]:
    """Return what the loss reads, and the policy's entropy ``[B, T]``.

    All is of the distribution that the batch was sampled from: `hidden` is divided by its temperature, so that
    ``hidden @ head.T`` are its logits.

    Where the batch has no `old` stream, the weights are still the rollouts', and `old` is `current` without gradient.

    Args:
        batch: The micro-batch.
        states: ``[N, D]`` the policy's states that predict its trained tokens.
        head: ``[V, D]`` the policy's LM head.
        bias: ``[V]`` its bias, where there is one.
        needs: The streams that the loss reads.

    Raises:
        PolicyError: If the loss reads hidden states, and they do not say all of that distribution.
    """
    mask = batch.completion_mask
    values, entropies = token_logprobs(
        states, head, batch.token_ids[mask], temperature=batch.temperature, bias=bias, kept=batch.kept_sets
    )
    current = scatter_to_tokens(values, mask)
    hidden = "hidden" in needs
    if hidden and bias is not None:
        raise PolicyError(
            "the policy's LM head has a bias, which losses on hidden states leave out",
            fix="use a loss on sampled tokens, such as sampled-token",
        )
    if hidden and batch.kept is not None:
        raise PolicyError(
            "sampling has keep_mask, which losses on hidden states leave out",
            fix="use a loss on sampled tokens (ppo: entropy_coefficient: 0), or top_p: 1 without keep_mask",
        )
    streams = TokenStreams(
        mask=mask,
        current=current,
        old=current.detach() if batch.old is None else batch.old,
        behaviour=batch.behaviour,
        reference=batch.reference,
        teacher=batch.teacher,
        advantage=batch.advantage,
        hidden=_tempered(states, batch.temperature) if hidden else None,
        head=head if hidden else None,
        teacher_hidden=torch.cat(batch.teacher_hidden) if batch.teacher_hidden is not None else None,
        teacher_head=batch.teacher_heads[batch.teachers[0]] if batch.teacher_hidden is not None else None,
        token_ids=batch.token_ids,
    )
    return streams, scatter_to_tokens(entropies.detach(), mask)


def _tempered(states: Tensor, temperature: float) -> Tensor:
    return states if temperature == 1 else states / temperature


def dealt_micro_batches(batch: RolloutBatch, size: int, owners: Sequence[int], ranks: int) -> list[list[int] | None]:
    """Return the ranks' micro-batches in turn: rank `r` has every `ranks`-th one from `r` on; None for none."""
    parts = [
        micro_batches(batch, size, [row for row, owner in enumerate(owners) if owner == rank]) for rank in range(ranks)
    ]
    turns = zip_longest(*parts)
    return [part for turn in turns for part in turn]


def micro_batches(batch: RolloutBatch, size: int, chosen: Sequence[int] | None = None) -> list[list[int]]:
    """Split rows into parts of at most `size`: rows of one teacher, of one prompt and of like length together.

    Args:
        batch: The rows.
        size: Rows of a part.
        chosen: Which rows; default: all.
    """
    lengths = batch.attention_mask.sum(dim=1).tolist()
    groups = batch.groups.tolist()
    longest: defaultdict[int, int] = defaultdict(int)
    for group, length in zip(groups, lengths, strict=True):
        longest[group] = max(longest[group], length)
    teachers = batch.teachers if batch.teacher_hidden is not None else [""] * len(batch)
    by_teacher: defaultdict[str, list[int]] = defaultdict(list)
    for row in sorted(
        range(len(batch)) if chosen is None else chosen,
        key=lambda row: (longest[groups[row]], groups[row], lengths[row]),
    ):
        by_teacher[teachers[row]].append(row)
    return [rows[start : start + size] for _, rows in sorted(by_teacher.items()) for start in range(0, len(rows), size)]


def _owners(batch: RolloutBatch, ranks: int) -> list[int]:
    """Return the rank that each row belongs to."""
    owners = [0] * len(batch)
    for rank, rows in enumerate(deal(batch, ranks)):
        for row in rows:
            owners[row] = rank
    return owners


def _split(count: int, parts: int, rng: random.Random) -> list[list[int]]:
    """Split the rows into random parts of (almost) equal size; one part keeps their order."""
    rows = list(range(count))
    if parts == 1:
        return [rows]
    rng.shuffle(rows)
    bounds = [round(count * part / parts) for part in range(parts + 1)]
    return [rows[low:high] for low, high in pairwise(bounds) if high > low]
