"""The `length` verifier: characters, words or tokens within bounds."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field, model_validator

from collegium import Completion, Config, Error, Score, Task, Verdict, Verifier


class LengthConfig(Config):
    """Options of the `length` verifier."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"unit": "words", "max": 50}]})

    unit: Literal["characters", "words", "tokens"]
    """What is counted: ``words`` stand between white space; ``tokens`` are those sampled, end-of-sequence included."""
    min: int = Field(default=0, ge=0)
    """Fewest, inclusive."""
    max: int | None = Field(default=None, ge=0)
    """Most, inclusive; None for no bound."""
    margin: int = Field(default=0, ge=0)
    """How far outside the bounds the score falls linearly from 1 to 0; 0 for a score of 1 or 0."""

    @model_validator(mode="after")
    def _has_bounds(self) -> LengthConfig:
        if self.min == 0 and self.max is None:
            raise ValueError("length needs a bound: give min, max or both")
        if self.max is not None and self.max < self.min:
            raise ValueError(f"length needs min <= max, got min={self.min} and max={self.max}")
        return self


class LengthVerifier(Verifier):
    """Judge a completion's length."""

    Config = LengthConfig
    form_only = True

    def verify(self, completion: Completion, task: Task) -> Verdict:
        """Judge one completion; `Error` if tokens are asked for and the completion has no token ids."""
        count = _count(completion, self.config.unit)
        if count is None:
            return Error("unit 'tokens' needs completions that come with token ids; use 'words' or 'characters'")
        most = count if self.config.max is None else self.config.max
        excess = max(self.config.min - count, count - most, 0)
        value = 1.0 if excess == 0 else max(0.0, 1.0 - excess / self.config.margin) if self.config.margin else 0.0
        return Score(value, {self.config.unit: count})


def _count(completion: Completion, unit: str) -> int | None:
    if unit == "characters":
        return len(completion.text)
    if unit == "words":
        return len(completion.text.split())
    return completion.length or None
