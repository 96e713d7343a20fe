"""Scoring: fill a batch's old, reference and teacher streams before the update.

Shapes: ``B`` sequences, ``T`` tokens.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import torch
from torch import Tensor

from collegium.errors import EngineError
from collegium.kinds.advantage import Advantage
from collegium.kinds.loss import Loss
from collegium.training.batch import RolloutBatch, deal
from collegium.training.distributed import world
from collegium.training.language_model import LanguageModel
from collegium.training.reference import Reference
from collegium.training.rollout_config import RolloutConfig, check_plain
from collegium.training.streams import require
from collegium.training.teacher_pool import TeacherPool, teacher_metrics

HANDSHAKE_ROWS = 64
"""Rows of the first batch that the handshake scores."""


class Scorer:
    """Fill exactly the streams that a stage's loss and advantage terms read.

    Args:
        policy: Gives `old`, before the update changes it.
        loss: Its `needs` count.
        terms: Their `needs` count.
        config: Micro-batch, optimizer steps per batch, and the handshake's tolerance.
        reference: Gives `reference`.
        teachers: Give `teacher`, or hidden states.

    Raises:
        ConfigError: If there are teachers and the sampling is not plain.
    """

    def __init__(
        self,
        policy: LanguageModel,
        loss: Loss,
        terms: Iterable[Advantage],
        config: RolloutConfig,
        *,
        reference: Reference | None = None,
        teachers: TeacherPool | None = None,
    ) -> None:
        if teachers is not None:
            check_plain(config.sampling)
        self.policy = policy
        self.config = config
        self.reference = reference
        self.teachers = teachers
        in_terms: frozenset[str] = frozenset().union(*(term.needs for term in terms))
        self.needs = loss.needs | in_terms
        # With one optimizer step per batch, `old` is `current` without gradient: the update fills it in for free.
        self.needs_old = "old" in in_terms or ("old" in loss.needs and config.epochs * config.minibatches > 1)
        self.shook_hands = False
        """Whether engine and trainer were compared."""

    def __call__(self, batch: RolloutBatch) -> dict[str, float]:
        """Fill the batch's streams and return metrics.

        Raises:
            EngineError: If engine and trainer disagree on the stage's first batch.
            TeacherError: If a row cannot be routed or scored.
        """
        started = time.perf_counter()
        if not self.config.staleness:  # else the rollouts are older than the policy: the pipeline picks the moment
            self.shake_hands(batch)
        if self.needs_old:
            batch.old = score(self.policy, batch, self.config.micro_batch)
        if "reference" in self.needs and self.reference is not None:
            batch.reference = score(self.reference.model, batch, self.config.micro_batch)
        metrics = self.ask_teachers(batch)
        if self.teachers is not None:
            metrics |= teacher_metrics(batch, self.teachers.teachers)
        return {**metrics, "time/score": time.perf_counter() - started}

    def shake_hands(self, batch: RolloutBatch) -> None:
        """Compare engine and trainer on a batch that the policy's present weights sampled; only the first one counts.

        Raises:
            EngineError: If they disagree.
        """
        if not self.shook_hands:
            check_handshake(self.policy, batch, self.config.handshake, self.config.micro_batch)
            self.shook_hands = True

    def ask_teachers(self, batch: RolloutBatch) -> dict[str, float]:
        """Fill the batch's teacher streams, unless they are filled, and return how long it took.

        Raises:
            TeacherError: If a row cannot be routed or scored.
        """
        if self.teachers is None or batch.teachers:
            return {}
        started = time.perf_counter()
        self.teachers.score(batch, hidden="teacher_hidden" in self.needs, logprobs="teacher" in self.needs)
        return {"time/teachers": time.perf_counter() - started}


@torch.no_grad()
def score(model: LanguageModel, batch: RolloutBatch, micro_batch: int) -> Tensor:
    """Return a model's log-probs of the batch's completions, ``[B, T]``; rows of like length are scored together.

    They are of the distribution that the batch says its tokens were sampled from.

    Each rank scores its own rows, and all get the whole.
    """
    here = world()
    lengths = batch.attention_mask.sum(dim=1).tolist()
    rows = sorted(deal(batch, here.size)[here.rank], key=lambda row: lengths[row])
    scores = torch.zeros(batch.token_ids.shape)
    for chosen in here.in_step([rows[start : start + micro_batch] for start in range(0, len(rows), micro_batch)]):
        if chosen is None:
            model.idle()
            continue
        part = model.logprobs(batch.select(chosen).to(model.device)).cpu()
        scores[chosen, : part.shape[1]] = part
    return here.merge(scores)


def check_handshake(policy: LanguageModel, batch: RolloutBatch, tolerance: float, micro_batch: int = 8) -> float:
    """Compare what the engine recorded at sampling with what the trainer makes of the same tokens.

    Args:
        policy: The trainer's model, at the weights that sampled.
        batch: With `behaviour`; its first rows are compared.
        tolerance: Greatest mean absolute difference, in nats.
        micro_batch: Rows scored at once.

    Returns:
        The mean absolute difference over the trained tokens.

    Raises:
        EngineError: If it exceeds the tolerance.
    """
    part = batch.select(range(min(len(batch), HANDSHAKE_ROWS)))
    behaviour = require(part, "behaviour", "handshake")
    difference = (behaviour - score(policy, part, micro_batch))[part.completion_mask]
    gap = float(difference.abs().mean())
    require_agreement(gap, tolerance)
    return gap


def require_agreement(gap: float, tolerance: float) -> None:
    """Check how far the engine's log-probs of sampled tokens are from those of the trainer's same weights.

    Args:
        gap: Mean absolute difference, in nats.
        tolerance: The greatest that is allowed.

    Raises:
        EngineError: If it is greater.
    """
    if not gap <= tolerance:
        raise EngineError(
            f"engine and trainer disagree: their log-probs of the sampled tokens differ by {gap:.3g} nats on average, "
            f"at most {tolerance:g} is allowed",
            fix="use the same precision in both, and check that the engine takes the policy's current weights (tied "
            "heads too) and records log-probs of what it samples from, at the stage's temperature and top_p",
        )
