"""Options of the stages that sample (light: no torch)."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field, model_validator

from collegium import Config, Use, UseEngine, UseReward, UseVerifier
from collegium.kinds.engine import SamplingParams
from collegium.kinds.stage import Artifact, Edge, StageConfig


class SamplingStageConfig(StageConfig):
    """What the stages that sample share."""

    requires: ClassVar[frozenset[Edge]] = frozenset({"generate_from"})
    accepts: ClassVar[frozenset[Edge]] = frozenset({"prompts_from"})
    produces: ClassVar[Artifact] = "data"

    batch: int = Field(default=32, ge=1)
    """Prompts, or dialogues, that are sampled at once."""
    sampling: SamplingParams = SamplingParams()
    """How to sample."""
    engine: UseEngine = Use(use="collegium/transformers")
    """What samples."""


class DifficultyFilterConfig(SamplingStageConfig):
    """Options of the stage `difficulty-filter`."""

    prompts: int | None = Field(default=None, ge=1)
    """At most this many training prompts of each domain are looked at, chosen by the seed; None takes all."""
    rollouts: int = Field(default=8, ge=1)
    """Completions of each prompt. OLMo 3: 8."""
    max_pass_rate: float = Field(default=0.625, ge=0, le=1)
    """Drop prompts that are solved more often. OLMo 3 (arXiv 2512.13961): 0.625; MAI-Thinking-1: 0.8."""
    min_pass_rate: float = Field(default=0.0, ge=0, le=1)
    """Drop prompts that are solved more seldom. OLMo 3: 0, which drops none; MAI-Thinking-1: 0.05."""
    right: float = 1.0
    """Score from which a completion solves its prompt."""
    reward: UseReward = Use(use="collegium/domain-verifier")
    """What scores the completions."""

    @model_validator(mode="after")
    def _leaves_a_range(self) -> DifficultyFilterConfig:
        if self.min_pass_rate > self.max_pass_rate:
            raise ValueError(
                f"min_pass_rate {self.min_pass_rate:g} is above max_pass_rate {self.max_pass_rate:g}: "
                "no prompt could stay"
            )
        return self


class PreferencePairsConfig(SamplingStageConfig):
    """Options of the stage `preference-pairs`: delta learning (OLMo 3, arXiv 2512.13961)."""

    prompts: int | None = Field(default=None, ge=1)
    """At most this many training prompts of each domain, chosen by the seed; None takes all."""
    samples: int = Field(default=1, ge=1)
    """Pairs of each prompt: completions of each model."""
    keep_cut: bool = False
    """Keep pairs of which a completion was cut at the token limit and has no end of its own."""

    def judges(self) -> bool:
        """Which model wrote a completion is all that counts: no verifier is asked."""
        return False


class Instruction(Config):
    """An instruction that shall hold for a whole dialogue; a plain text is one without data."""

    text: str = Field(min_length=1)
    """What the user says."""
    data: dict[str, Any] = {}
    """What `check` reads of a task besides its prompt."""

    @model_validator(mode="before")
    @classmethod
    def _from_short_form(cls, value: Any) -> Any:
        return {"text": value} if isinstance(value, str) else value


class GhostAttentionConfig(SamplingStageConfig):
    """Options of the stage `ghost-attention` (Llama 2, arXiv 2307.09288, section 3.3)."""

    instructions: list[Instruction] = Field(min_length=1)
    """Instructions, of which each dialogue has one, chosen by the seed."""
    dialogues: int = Field(default=256, ge=1)
    """How many dialogues to sample."""
    turns: int = Field(default=2, ge=2)
    """User turns of each: tasks of one domain, chosen by the seed."""
    joiner: str = "\n"
    """What stands between the instruction and the user's own words."""
    check: UseVerifier | None = None
    """Keep a dialogue only if this scores every answer 1, on a task whose data is the instruction's."""
    verify: bool = False
    """Keep a dialogue only if the domain's verifier scores every answer 1: for instructions that change no answer."""

    def judges(self) -> bool:
        """Only where answers are checked."""
        return self.verify or self.check is not None
