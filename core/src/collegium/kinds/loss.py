"""Losses: a per-token loss, a pure function of tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from collegium.component import Config
from collegium.kinds.adaptive import Adaptive

if TYPE_CHECKING:
    from collegium.training.streams import LossOutput, TokenStreams


class LossConfig(Config):
    """Base of a loss's options, where the plan has to know something of the loss without importing torch."""

    needs_teacher_states: ClassVar[bool] = False
    """Whether it reads teachers' hidden states; a teacher that gives log-probs only is refused then."""


class Loss(Adaptive):
    """Map token streams to a per-token loss. The core masks, weighs and aggregates it."""

    needs: ClassVar[frozenset[str]] = frozenset({"current"})
    """Streams it reads: ``current``, ``old``, ``behaviour``, ``reference``, ``teacher`` (log-probs), ``advantage``,
    ``hidden`` and ``teacher_hidden`` (last hidden states with their heads). A stage provides exactly these."""

    @property
    def corrects_age(self) -> bool:
        """Whether its gradient allows for rollouts that older weights sampled (a stage's `staleness`).

        By default it does if it weighs no sampled token by an advantage, or reads who sampled the token. Override it
        where `behaviour` is read for something else.
        """
        return "advantage" not in self.needs or "behaviour" in self.needs

    def per_token(self, streams: TokenStreams) -> LossOutput:
        """Return the loss of each trained token, shape ``[B, T]``, in nats, and per-token statistics of that shape."""
        raise NotImplementedError
