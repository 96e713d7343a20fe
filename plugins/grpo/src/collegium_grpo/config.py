"""Options of the losses and advantage terms (no torch: the plan reads them)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from collegium import Config, ConfigError

OWNER = "collegium-grpo"


class SurrogateConfig(Config):
    """What the losses share."""

    ratio: Literal["token", "sequence"] = "token"
    """Per token, or GSPO's geometric mean over the sequence (whose clip range is some 3e-4)."""
    clip_low: float = Field(default=0.2, ge=0, le=1)
    """The ratio is clipped below at ``1 - clip_low``; 1 turns that off."""
    clip_high: float = Field(default=0.2, ge=0)
    """The ratio is clipped above at ``1 + clip_high``. DAPO: 0.28; OLMo 3: 0.272; DeepSeek-R1: 10."""
    importance: Literal["none", "tis", "icepop"] = "none"
    """Correction of the engine's mismatch, by ``old / behaviour``: none; capped at `importance_high` (TIS); or zero
    outside ``[importance_low, importance_high]`` (IcePop)."""
    importance_low: float = Field(default=0.5, ge=0)
    """Lower end of IcePop's window. GLM-5: 0.5."""
    importance_high: float = Field(default=2.0, gt=0)
    """Cap of TIS, upper end of IcePop's window. OLMo 3 and GLM-5: 2."""
    off_policy_delta: float | None = Field(default=None, ge=0)
    """Drop sequences with a negative advantage whose mean ``log behaviour - log current`` exceeds this (DeepSeek-V3.2,
    which does not print its value)."""
    kl_coefficient: float = Field(default=0.0, ge=0)
    """Weight of the KL penalty to the reference. DeepSeek-R1: 0.001."""
    kl_estimator: Literal["k2", "k3", "k3-corrected"] = "k3-corrected"
    """What is differentiated: `k2` has the reverse KL's gradient on-policy, `k3` (GRPO's) the forward KL's,
    `k3-corrected` (DeepSeek-V3.2's) the reverse KL's off-policy too: ``current/old * k3``, times ``old/behaviour`` as
    `importance` has it, without which stale rollouts would bias it."""

    @field_validator("kl_estimator", mode="before")
    @classmethod
    def _refuse_k1(cls, value: Any) -> Any:
        if value == "k1":
            raise ConfigError(
                "kl_estimator 'k1' in a loss has an expected gradient of zero: it would penalise nothing",
                fix="use k3-corrected or k2 here, or the advantage term `kl`, which is k1 in the reward",
                owner=OWNER,
            )
        return value

    @model_validator(mode="after")
    def _window_is_one(self) -> SurrogateConfig:
        if self.importance_low >= self.importance_high:
            raise ConfigError(
                f"importance_low {self.importance_low} must be below importance_high {self.importance_high}",
                fix="give a window around 1, such as 0.5 and 2",
                owner=OWNER,
            )
        return self


class ClippedConfig(SurrogateConfig):
    """Options of the loss `clipped`."""


class CispoConfig(SurrogateConfig):
    """Options of the loss `cispo`."""

    clip_low: float = Field(default=1.0, ge=0, le=1)
    """The weight is clipped below at ``1 - clip_low``; the default, 1, turns that off."""
    clip_high: float = Field(ge=0)
    """The weight is clipped above at ``1 + clip_high``. There is no published default: it is tuned."""


class WindowedConfig(Config):
    """Options of the loss `windowed`; the report of Kimi K2.5 prints the value of none of the three numbers."""

    alpha: float = Field(lt=0, ge=-20)
    """Log-ratio below which a token has no policy gradient."""
    beta: float = Field(gt=0, le=20)
    """Log-ratio above which it has none."""
    tau: float = Field(ge=0)
    """Weight of the squared log-ratio, whose gradient is there outside the window, too."""
    anchor: Literal["old", "behaviour"] = "old"
    """What the ratio is to: the trainer's log-probs at the start of the batch's update, or those that the engine
    recorded, so that what the two disagree on, and the age of stale rollouts, count as distance, too."""


class DoubleSidedConfig(Config):
    """Options of the loss `double-sided`."""

    clip_low: float = Field(default=0.2, ge=0, le=1)
    """Tokens whose ratio is below ``1 - clip_low`` teach nothing. GLM-5: 0.2."""
    clip_high: float = Field(default=0.28, ge=0)
    """Tokens whose ratio is above ``1 + clip_high`` teach nothing. GLM-5: 0.28."""


class OverlongConfig(Config):
    """DAPO's soft penalty of long completions."""

    limit: int = Field(gt=0)
    """Tokens at which the penalty reaches 1. DAPO: 20,480."""
    buffer: int = Field(gt=0)
    """Tokens before the limit over which it grows from 0. DAPO: 4,096."""

    @model_validator(mode="after")
    def _buffer_fits(self) -> OverlongConfig:
        if self.buffer > self.limit:
            raise ConfigError(
                f"overlong buffer {self.buffer} is longer than the limit {self.limit}",
                fix="make buffer a part of limit, such as a fifth",
                owner=OWNER,
            )
        return self


class OutcomeConfig(Config):
    """Options of the advantage term `outcome`."""

    std: bool = True
    """Divide by the group's standard deviation (GRPO); off: Dr. GRPO, OLMo 3, DeepSeek-V3.2."""
    overlong: OverlongConfig | None = None
    """Penalty of long completions, added to the reward. Default: none."""
    missing_eos: float | None = None
    """Reward of a completion cut at the token limit, in place of its score (Tulu 3: -10). Default: its score stands."""


class KlPenaltyConfig(Config):
    """Options of the advantage term `kl`."""

    coefficient: float = Field(default=0.02, ge=0)
    """Weight of the penalty. InstructGPT: 0.02; Tulu 3: 0.05."""
