"""Options of the losses and of the advantage term (no torch: the plan reads them)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, model_validator

from collegium import Config, ConfigError, LossConfig


class DistillConfig(Config):
    """Options of the advantage term `distill`."""

    coefficient: float = Field(default=1.0, ge=0)
    """Weight of the term."""
    clip: float = Field(default=5.0, gt=0)
    """The log-ratio is clipped to plus or minus this, in nats. MOPD (arXiv 2606.30406): 5; Nemotron 3 Ultra: 20."""


class SampledTokenConfig(Config):
    """Options of the loss `sampled-token`."""

    ratio_low: float = Field(default=0.5, ge=0)
    """Tokens whose ``current / behaviour`` is below this are not trained. GLM-5 and Nemotron-Cascade 2: 0.5."""
    ratio_high: float = Field(default=2.0, gt=0)
    """Nor those above this. GLM-5 and Nemotron-Cascade 2: 2; MiMo-V2-Flash does not print its window."""

    @model_validator(mode="after")
    def _window_holds_one(self) -> SampledTokenConfig:
        if not self.ratio_low <= 1 <= self.ratio_high:
            raise ConfigError(
                f"the window from ratio_low {self.ratio_low} to ratio_high {self.ratio_high} must hold 1, or it masks "
                "tokens on which student and engine agree",
                fix="give a window around 1, such as 0.5 and 2",
                owner="collegium-mopd",
            )
        return self


class ReverseKlConfig(LossConfig):
    """Options of the loss `reverse-kl`."""

    needs_teacher_states: ClassVar[bool] = True

    chunk: int = Field(default=1024, ge=1)
    """Tokens whose logits are held at once."""


class TopKConfig(ReverseKlConfig):
    """Options of the loss `top-k`."""

    k: int = Field(default=64, ge=1)
    """Size of the teacher's support. MOPD (arXiv 2606.30406): 64. At most the vocabulary."""
