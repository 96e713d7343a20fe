"""Options of the package's other components (light: no torch)."""

from __future__ import annotations

from typing import Annotated, Literal

import regex  # type: ignore[import-untyped]  # it ships none
from pydantic import AfterValidator, ConfigDict, Field, model_validator

from collegium import Config, ConfigError, Use, UseEngine, UseReward, UseVerifier
from collegium.kinds.reward import RewardConfig

OWNER = "collegium-rewards"


class RubricConfig(Config):
    """Options of the reward source `rubric`."""

    field: str = Field(default="rubric", min_length=1)
    """The field of a task's data that holds its criteria."""
    judge: UseVerifier | None = None
    """Judges criteria that name no check: it gets the criterion's text as the task's reference."""
    checks: dict[str, UseVerifier] = {}
    """Verifiers that criteria name."""
    abstain: Literal["whole", "skip"] = "whole"
    """Where a criterion's verifier has no opinion: the ``whole`` has none, or ``skip`` it, and its weight."""


class WrapperConfig(RewardConfig):
    """Base of the options of what changes another reward."""

    reward: UseReward = Use(use="collegium/domain-verifier")
    """The reward that is changed."""
    pass_at: float = 1.0
    """Reward from which a completion counts as correct."""


class ToggleConfig(WrapperConfig):
    """Options of the reward source `toggle-length`. The report prints no value of period, accuracy and percentile."""

    period: int = Field(ge=1)
    """Steps of a phase (``m``); the first phase is the one with a budget."""
    accuracy: float = Field(ge=0, le=1)
    """The budget holds where the prompt's mean reward in the batch is at least this (``lambda``)."""
    percentile: float = Field(gt=0, le=100)
    """Percentile of the lengths of a problem's correct completions that becomes its budget (``rho``)."""


class LengthCostConfig(WrapperConfig):
    """Options of the reward source `length-cost`."""

    weight: float = Field(default=0.25, ge=0)
    """What the cost is multiplied with. MAI-Thinking-1: 0.25, and 0 at 128k tokens."""
    max_tokens: int = Field(ge=1)
    """Length that costs the full weight, usually the limit of `sampling`."""


class LengthPrice(Config):
    """What length costs."""

    limit: int = Field(ge=1)
    """Tokens, end-of-sequence included, from which the whole `weight` is lost."""
    free: int = Field(default=0, ge=0)
    """Tokens that cost nothing; from there the cost grows linearly up to `limit`."""
    weight: float = Field(default=1.0, ge=0)
    """What a completion of `limit` tokens or more loses."""

    @model_validator(mode="after")
    def _grows_somewhere(self) -> LengthPrice:
        if self.free >= self.limit:
            raise ConfigError(
                f"length-penalty: {self.free} tokens are free, and all is lost at {self.limit}",
                fix="make free less than limit",
                owner=OWNER,
            )
        return self


class LengthPenaltyConfig(Config):
    """Options of the reward source `length-penalty`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"price": {"limit": 256}}]})

    price: LengthPrice | None = None
    """What length costs in every task."""
    modes: dict[str, LengthPrice] = {}
    """Instead: mode of a task to what length costs there. A task of another mode is an Error. DeepSeek-V4 has a penalty
    and a context (8K, 128K, 384K) for each of Non-think, High and Max, and prints no weights."""

    @model_validator(mode="after")
    def _one_of_the_two(self) -> LengthPenaltyConfig:
        if (self.price is None) == (not self.modes):
            raise ConfigError(
                "length-penalty: give either price, for all tasks, or modes", fix="give one of the two", owner=OWNER
            )
        return self


def _is_script(name: str) -> str:
    try:
        regex.compile(rf"\p{{Script={name}}}")
    except regex.error:
        raise ValueError(f"Unicode has no script {name!r}; such as Latin, Cyrillic, Han, Arabic") from None
    return name


class ForeignWordsConfig(Config):
    """Options of the reward source `foreign-words`."""

    scripts: list[Annotated[str, AfterValidator(_is_script)]] = Field(default=["Latin"], min_length=1)
    """Unicode scripts of the language asked for; a word with a letter of another one is foreign."""
    penalty: float = Field(default=0.005, gt=0)
    """Lost for each foreign word. MAI-Thinking-1: 0.005."""


class CurriculumConfig(Config):
    """Options of the engine `length-curriculum`."""

    engine: UseEngine = Use(use="collegium/transformers")
    """The engine that generates."""
    limits: dict[int, Annotated[int, Field(ge=1)]] = Field(min_length=1)
    """Step, from 1, to the token limit that holds from it on. MAI-Thinking-1: 8k, 16k, 32k, 64k, 128k."""

    @model_validator(mode="after")
    def _grows(self) -> CurriculumConfig:
        ordered = [self.limits[step] for step in sorted(self.limits)]
        if min(self.limits) != 1 or ordered != sorted(set(ordered)):
            raise ConfigError(
                f"limits {self.limits} must begin with step 1 and grow",
                fix="write such as limits: {1: 8192, 400: 16384}",
                owner=OWNER,
            )
        return self


class AdaptiveEntropyConfig(Config):
    """Options of the loss `adaptive-entropy`; the defaults are MAI-Thinking-1's."""

    epsilon: float = Field(default=0.6, gt=0, lt=1)
    """The ratio is clipped to ``[1 - epsilon, 1 / (1 - epsilon) + k]``."""
    target: float = Field(default=0.3, gt=0)
    """Entropy per token, in nats, below which ``k`` grows and above which it shrinks."""
    rate: float = Field(default=0.25, gt=0)
    """How much ``k`` changes in a step."""
    largest: float = Field(default=2.5, ge=0)
    """Most that ``k`` becomes; it begins at 0."""
    ratio_max: float = Field(default=50.0, gt=1)
    """The ratio is cut here in every branch, also those that the clip leaves open."""

    @model_validator(mode="after")
    def _cut_is_outside(self) -> AdaptiveEntropyConfig:
        widest = 1 / (1 - self.epsilon) + self.largest
        if self.ratio_max <= widest:
            raise ConfigError(
                f"ratio_max {self.ratio_max:g} must be above the widest clip, {widest:g}",
                fix="raise ratio_max, or lower largest or epsilon",
                owner=OWNER,
            )
        return self
