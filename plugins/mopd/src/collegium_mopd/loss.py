"""The losses of multi-teacher on-policy distillation.

`sampled-token` is MiMo-V2-Flash's surrogate (arXiv 2601.02780, Eq. 7 and 8); `reverse-kl` DeepSeek-V4's (arXiv
2606.19348, Eq. 29); `top-k` that of MOPD (arXiv 2606.30406). The mean over tokens and sequences is the core's: the
stage's `aggregation`, where Eq. 7's ``1/|y|`` is ``sequence-mean``.

Which to take: published evidence disagrees. The sampled token is cheap, unbiased for the per-state KL and noisy; the
exact KL has no sampling noise over the vocabulary and needs the teacher's states and head.

Shapes: ``B`` sequences, ``T`` tokens, ``N`` trained tokens.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from collegium import Loss
from collegium.training.divergence import MAX_LOG_RATIO, exact_reverse_kl, k1, topk_reverse_kl
from collegium.training.logprobs import scatter_to_tokens
from collegium.training.streams import LossOutput, TokenStreams, require
from collegium.training.surrogate import windowed_importance
from collegium_mopd.config import ReverseKlConfig, SampledTokenConfig, TopKConfig


class SampledToken(Loss):
    """``-w A log p``, with ``w`` the ratio of student to engine inside a window and exactly 0 outside."""

    Config = SampledTokenConfig
    needs: ClassVar[frozenset[str]] = frozenset({"current", "behaviour", "advantage"})

    def per_token(self, streams: TokenStreams) -> LossOutput:
        """Return the loss and its statistics: importance, masked share, and sampled KL if there is a teacher stream."""
        behaviour = require(streams, "behaviour", "loss sampled-token")
        advantage = require(streams, "advantage", "loss sampled-token")
        weight = windowed_importance(streams.current - behaviour, self.config.ratio_low, self.config.ratio_high)
        stats = {"importance": weight, "masked": (weight == 0).float(), **sampled_kl(streams)}
        return LossOutput(-weight * advantage * streams.current, stats)


class _FromStates(Loss):
    """Losses that compare student and teacher over the vocabulary."""

    needs: ClassVar[frozenset[str]] = frozenset({"hidden", "teacher_hidden"})

    def per_token(self, streams: TokenStreams) -> LossOutput:
        """Return the divergence and its statistics: kl, entropy, and the sampled KL where there is a teacher stream."""
        names = ("hidden", "head", "teacher_hidden", "teacher_head")
        divergence, entropy = self._divergence(
            *(require(streams, name, f"loss {type(self).__name__}") for name in names)
        )
        kl = scatter_to_tokens(divergence, streams.mask)
        stats = {"kl": kl.detach(), "entropy": scatter_to_tokens(entropy, streams.mask), **sampled_kl(streams)}
        return LossOutput(kl, stats)

    def _divergence(
        self, hidden: Tensor, head: Tensor, teacher_hidden: Tensor, teacher_head: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return divergence and entropy of every trained token, ``[N]``."""
        raise NotImplementedError


class ReverseKl(_FromStates):
    """The reverse KL over the whole vocabulary."""

    Config = ReverseKlConfig

    def _divergence(
        self, hidden: Tensor, head: Tensor, teacher_hidden: Tensor, teacher_head: Tensor
    ) -> tuple[Tensor, Tensor]:
        return exact_reverse_kl(hidden, head, teacher_hidden, teacher_head, chunk=self.config.chunk)


class TopK(_FromStates):
    """The corrected reverse KL on the teacher's top k tokens."""

    Config = TopKConfig

    def _divergence(
        self, hidden: Tensor, head: Tensor, teacher_hidden: Tensor, teacher_head: Tensor
    ) -> tuple[Tensor, Tensor]:
        config = self.config
        return topk_reverse_kl(hidden, head, teacher_hidden, teacher_head, k=config.k, chunk=config.chunk)


def sampled_kl(streams: TokenStreams) -> dict[str, Tensor]:
    """Return k1 to the teacher as a statistic: beside the exact KL it shows how noisy the sampled one is."""
    if streams.teacher is None:
        return {}
    return {"sampled_kl": k1(streams.current, streams.teacher).detach().clamp(max=MAX_LOG_RATIO)}
