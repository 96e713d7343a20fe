"""The losses `clipped` and `cispo`: GRPO, DAPO, Dr. GRPO, GSPO and CISPO by options.

Sources: GRPO (DeepSeek-R1); DAPO's asymmetric clip; GSPO's sequence ratio, in its token form; CISPO (MiniMax-M1);
truncated importance sampling (OLMo 3), IcePop (GLM-5), off-policy mask and corrected k3 (DeepSeek-V3.2). Unlike R1's,
the KL penalty is by default the corrected one. The mean over tokens and sequences is the core's: the stage's
`aggregation`.

Shapes: ``B`` sequences, ``T`` tokens.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from collegium import Loss
from collegium.training import divergence, surrogate
from collegium.training.streams import LossOutput, TokenStreams, require
from collegium_grpo.config import CispoConfig, ClippedConfig, SurrogateConfig


class ClippedLoss(Loss):
    """``-min(r A, clip(r) A)`` times the engine's correction, plus a KL penalty."""

    Config: ClassVar[type[SurrogateConfig]] = ClippedConfig

    def __init__(self, config: SurrogateConfig | dict[str, object] | None = None) -> None:
        super().__init__(config)
        self.needs = needs_of(self.config)  # type: ignore[misc]  # depends on the options

    @property
    def corrects_age(self) -> bool:
        """Whether tokens are weighed by ``old / behaviour``: the off-policy mask reads `behaviour` and weighs none."""
        return bool(self.config.importance != "none")

    def per_token(self, streams: TokenStreams) -> LossOutput:
        """Return the loss and its statistics: ratio, clipped shares, masked share, importance and KL."""
        old, advantage = self._stream(streams, "old"), self._stream(streams, "advantage")
        ratio = self._ratio(streams.current, old, streams.mask)
        correction = self._correction(streams)
        importance = correction * self._off_policy_mask(streams)
        loss, clip_low, clip_high = self._surrogate(streams.current, ratio, advantage)
        stats = {
            "ratio": ratio.detach(),
            "clip_low": clip_low,
            "clip_high": clip_high,
            "importance": importance,
            "masked": (importance == 0).float(),
        }
        loss = importance * loss
        if self.config.kl_coefficient:
            kl = self._kl(streams, correction)
            loss = loss + self.config.kl_coefficient * kl
            stats["kl"] = kl.detach()
        return LossOutput(loss, stats)

    def _surrogate(self, current: Tensor, ratio: Tensor, advantage: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss per token, and where it is clipped below and above."""
        low, high = self.config.clip_low, self.config.clip_high
        loss = surrogate.clipped(ratio, advantage, low, high)
        return loss, *surrogate.clip_flags(ratio.detach(), advantage, low, high)

    def _ratio(self, current: Tensor, old: Tensor, mask: Tensor) -> Tensor:
        if self.config.ratio == "sequence":
            return surrogate.sequence_ratio(current, old, mask)
        return surrogate.token_ratio(current, old)

    def _correction(self, streams: TokenStreams) -> Tensor:
        """Return ``old / behaviour`` as `importance` has it, capped or windowed; 1 without, ``[B, T]``."""
        config = self.config
        if config.importance == "tis":
            return surrogate.truncated_importance(self._engine_log_ratio(streams), config.importance_high)
        if config.importance == "icepop":
            low, high = config.importance_low, config.importance_high
            return surrogate.windowed_importance(self._engine_log_ratio(streams), low, high)
        return torch.ones_like(streams.current, requires_grad=False)

    def _off_policy_mask(self, streams: TokenStreams) -> Tensor | float:
        """Return 0 for the sequences to drop, ``[B, 1]``; 1 where the option is off."""
        delta = self.config.off_policy_delta
        if delta is None:
            return 1.0
        behaviour, advantage = self._stream(streams, "behaviour"), self._stream(streams, "advantage")
        return surrogate.on_policy_mask(streams.current, behaviour, advantage, streams.mask, delta)

    def _engine_log_ratio(self, streams: TokenStreams) -> Tensor:
        return self._stream(streams, "old") - self._stream(streams, "behaviour")

    def _kl(self, streams: TokenStreams, correction: Tensor) -> Tensor:
        """Return the penalty per token, ``[B, T]``.

        The corrected one is ``old/behaviour * current/old * k3``: its ratio is then to who sampled the token, and its
        expected gradient is the reverse KL's for stale rollouts, too, but for what the correction cuts. The plain ones
        have no ratio, and are as published.
        """
        reference = self._stream(streams, "reference")
        if self.config.kl_estimator == "k2":
            return divergence.k2(streams.current, reference)
        if self.config.kl_estimator == "k3":
            return divergence.k3(streams.current, reference)
        return correction * divergence.corrected_k3(streams.current, reference, self._stream(streams, "old"))

    def _stream(self, streams: TokenStreams, name: str) -> Tensor:
        return require(streams, name, f"loss {type(self).__name__}")


class CispoLoss(ClippedLoss):
    """``-sg[clip(r)] A log p`` times the engine's correction, plus a KL penalty."""

    Config: ClassVar[type[SurrogateConfig]] = CispoConfig

    def _surrogate(self, current: Tensor, ratio: Tensor, advantage: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        low, high = self.config.clip_low, self.config.clip_high
        loss = surrogate.cispo(current, ratio, advantage, low, high)
        weight = ratio.detach()
        return loss, (weight < 1 - low).float(), (weight > 1 + high).float()


def needs_of(config: SurrogateConfig) -> frozenset[str]:
    """Return the streams that a loss with these options reads."""
    needs = {"current", "old", "advantage"}
    if config.importance != "none" or config.off_policy_delta is not None:
        needs.add("behaviour")
    if config.kl_coefficient:
        needs.add("reference")
    return frozenset(needs)
