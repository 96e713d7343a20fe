"""The update: policy and value function, each with its own optimizer, on the same minibatches.

Shapes: ``B`` sequences, ``T`` tokens.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise

from torch import Tensor

from collegium.training.aggregation import token_weights
from collegium.training.batch import RolloutBatch, deal
from collegium.training.logprobs import scatter_to_tokens
from collegium.training.policy_update import PolicyUpdate, TokenStats, dealt_micro_batches
from collegium.training.trainer import Trainer
from collegium_ppo.config import PpoConfig
from collegium_ppo.experience import ValueTargets, has_reward
from collegium_ppo.losses import PolicyLoss, PolicyLossConfig, value_loss
from collegium_ppo.value_model import read_values


class PpoUpdate:
    """Train both models on a batch.

    Args:
        policy: The policy's trainer.
        value: The value function's.
        config: The stage's options.
    """

    def __init__(self, policy: Trainer, value: Trainer, config: PpoConfig) -> None:
        self.config = config
        loss = PolicyLoss(PolicyLossConfig(clip=config.clip, entropy_coefficient=config.entropy_coefficient))
        of_minibatch = config.model_copy(update={"epochs": 1, "minibatches": 1})
        self.policy = PolicyUpdate(policy, loss, of_minibatch, has_reward)
        self.value = ValueUpdate(value, config)

    def __call__(self, batch: RolloutBatch, targets: ValueTargets, rng: random.Random) -> dict[str, float]:
        """Do every epoch's steps and return the metrics, averaged over them."""
        started = time.perf_counter()
        gathered: defaultdict[str, list[float]] = defaultdict(list)
        for rows in minibatches(len(batch), self.config.epochs, self.config.minibatches, rng):
            part = batch.select(rows)
            if not bool(has_reward(part).any()):
                continue  # nothing to learn: a step on a zero gradient would still move along AdamW's momentum
            found = self.policy(part, rng)
            found |= self.value(part, targets.select(rows, part.token_ids.shape[1]))
            for name, number in found.items():
                gathered[name].append(number)
        means = {name: sum(numbers) / len(numbers) for name, numbers in gathered.items()}
        return {**means, "time/train": time.perf_counter() - started}


class ValueUpdate:
    """Train the value function.

    Args:
        trainer: Does the optimizer steps.
        config: Micro-batch, aggregation and the value's clip.
    """

    def __init__(self, trainer: Trainer, config: PpoConfig) -> None:
        self.trainer = trainer
        self.config = config

    def __call__(self, batch: RolloutBatch, targets: ValueTargets) -> dict[str, float]:
        """Do one optimizer step on a minibatch and return its metrics."""
        constant = self.config.sampling.max_tokens if self.config.aggregation == "constant" else None
        batch.token_weights = token_weights(
            batch.completion_mask, self.config.aggregation, sequence_weights=has_reward(batch), constant=constant
        )
        stats = TokenStats(batch)
        size, ranks = self.config.micro_batch, self.trainer.world.size
        losses = [
            None if rows is None else partial(self._loss_of, batch, targets, rows, stats)
            for rows in dealt_micro_batches(batch, size, owners(batch, ranks), ranks)
        ]
        metrics = self.trainer.step(losses, [sample.task.id for sample in batch.samples])
        return {f"value/{name}": number for name, number in (metrics | stats.means(self.trainer.world)).items()}

    def _loss_of(self, batch: RolloutBatch, targets: ValueTargets, rows: Sequence[int], stats: TokenStats) -> Tensor:
        """Run one micro-batch and return its share of the step's loss."""
        part = batch.select(rows).to(self.trainer.policy.device)
        mask, weights = part.completion_mask, part.token_weights
        wanted = targets.select(list(rows), mask.shape[1]).to(mask.device)
        assert weights is not None  # set by __call__

        def read(states: Tensor, head: Tensor, bias: Tensor | None) -> Tensor:
            values = read_values(states, head, bias)
            loss, clipped = value_loss(values, wanted.old[mask], wanted.returns[mask], self.config.value_clip)
            judged = mask & has_reward(part).bool()[:, None]
            stats.add(rows, judged, {"clip_fraction": scatter_to_tokens(clipped, mask)})
            return (weights[mask] * loss).sum()

        return self.trainer.policy.read_completions(part, read)


def minibatches(count: int, epochs: int, parts: int, rng: random.Random) -> Iterator[list[int]]:
    """Yield the rows of each optimizer step: every epoch all rows once, in random parts of almost equal size."""
    for _ in range(epochs):
        rows = list(range(count))
        rng.shuffle(rows)
        bounds = [round(count * part / parts) for part in range(parts + 1)]
        yield from (rows[low:high] for low, high in pairwise(bounds) if high > low)


def owners(batch: RolloutBatch, ranks: int) -> list[int]:
    """Return the rank that runs each row."""
    found = [0] * len(batch)
    for rank, rows in enumerate(deal(batch, ranks)):
        for row in rows:
            found[row] = rank
    return found
