"""Options of the reward source `composed` (light: no torch)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import ConfigDict, Field, model_validator

from collegium import Config, ConfigError, Use, UseReward, UseVerifier
from collegium.kinds.reward import RewardConfig

OWNER = "collegium-rewards"
GATED = ("gated", "piecewise")


class Part(Config):
    """One part of a composed reward: a reward source or a verifier, and when and of what it judges."""

    reward: UseReward | None = None
    """The reward source that scores, such as ``domain-verifier``."""
    verifier: UseVerifier | None = None
    """The verifier that scores, instead of `reward`."""
    weight: float = 1.0
    """What its score is multiplied with; negative for a penalty."""
    models: list[int] = []
    """Places, from 0, of its models on the stage's edge `reward_models`."""
    after: str | None = Field(default=None, min_length=1)
    """It sees only what follows the last occurrence of this text, such as ``</think>``; nothing where there is none."""
    before: str | None = Field(default=None, min_length=1)
    """It sees only what stands before the last occurrence of this text; all where there is none."""
    from_step: int = Field(default=1, ge=1)
    """First step in which it counts. DeepSeek-R1: preference rewards in the last 400 of 1,700 steps."""
    until_step: int | None = Field(default=None, ge=1)
    """Last step in which it counts; None for the stage's last."""
    modes: list[str] = []
    """Modes of tasks, such as ``think``, for which it counts; default: all."""

    @model_validator(mode="after")
    def _one_component(self) -> Part:
        if (self.reward is None) == (self.verifier is None):
            raise ConfigError("a part is either a reward or a verifier", fix="name exactly one", owner=OWNER)
        if self.after is not None and self.before is not None:
            raise ConfigError("a part sees what is after a text or before one", fix="give one of the two", owner=OWNER)
        if self.until_step is not None and self.until_step < self.from_step:
            raise ConfigError(
                f"a part from step {self.from_step} until step {self.until_step} never counts",
                fix="make until_step at least from_step",
                owner=OWNER,
            )
        return self

    @property
    def kind(self) -> Literal["reward", "verifier"]:
        """Which of the two it is."""
        return "verifier" if self.reward is None else "reward"

    @property
    def component(self) -> Use:
        """What scores."""
        found = self.reward or self.verifier
        assert found is not None  # checked by _one_component
        return found


class ComposedConfig(RewardConfig):
    """Options of the reward source `composed`."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"parts": {"right": {"reward": "domain-verifier"}}}]}  # one part
    )

    parts: dict[str, Part] = Field(min_length=1)
    """What is put together, by names of your own: metrics are called ``part/NAME``."""
    combine: Literal["weighted", "gated", "piecewise", "product"] = "weighted"
    """``weighted``: the sum of weight times score. ``gated``: that sum where the score of `gate` is at least
    `threshold`, else the gate's share alone. ``piecewise`` (Llama 2): the gate's score where it is below `threshold` or
    the prompt is about safety, else the other part's. ``product``: all scores multiplied."""
    gate: str | None = None
    """The part that goes first, for ``gated`` and ``piecewise``; the others are not asked where it decides alone."""
    threshold: float = 0.15
    """Score of the gate from which the others count. Llama 2: 0.15, of the sigmoid."""
    safety_domains: list[str] = []
    """For ``piecewise``: domains whose prompts are about safety; a task with ``is_safety: true`` in its data is one
    anywhere."""
    per: dict[str, list[str]] = {}
    """Domain to the names of the parts that count there; a domain that is not named is an Error. Default: all parts in
    every domain."""
    abstain: Literal["whole", "skip"] = "whole"
    """Where a part has no opinion: the ``whole`` has none, or ``skip`` the part (it adds nothing to a sum and leaves a
    product as it is). A gate without an opinion always leaves the whole without one."""
    output: Literal["plain", "logit", "whitened", "whitened-logit"] = "plain"
    """The number as it is; its logit; or either less the mean and over the deviation of the batch (Llama 2 whitens the
    logit of sigmoids)."""

    @model_validator(mode="after")
    def _fits_together(self) -> ComposedConfig:
        for what, fix in self._faults():
            raise ConfigError(f"composed: {what}", fix=fix, owner=OWNER)
        return self

    def _faults(self) -> Iterator[tuple[str, str]]:
        """Yield what does not fit, and how to mend it."""
        names = ", ".join(self.parts)
        unknown = sorted({name for listed in self.per.values() for name in listed} - set(self.parts))
        if unknown:
            yield f"per names {', '.join(unknown)}, the parts are {names}", "name parts that there are"
        empty = sorted(domain for domain, listed in self.per.items() if not listed or len(set(listed)) < len(listed))
        if empty:
            yield f"per gives no part, or one part twice, for {', '.join(empty)}", "name each part once"
        if (self.gate is not None) != (self.combine in GATED):
            yield (
                f"combine: {self.combine} with gate: {self.gate}; gated and piecewise need one, others have none",
                f"set gate to one of {names}" if self.gate is None else "leave gate out",
            )
        if self.gate is not None and self.gate not in self.parts:
            yield f"gate {self.gate!r} is no part; the parts are {names}", "name the part that goes first"
        if self.combine == "piecewise" and len(self.parts) != 2:
            yield f"piecewise chooses between two parts, found {names}", "give the gate and one other part"
        weighed = [name for name, part in self.parts.items() if part.weight != 1]
        if self.combine in ("piecewise", "product") and weighed:
            yield f"combine: {self.combine} takes no weights, found some for {', '.join(weighed)}", "leave weight out"
        places = sorted({place for part in self.parts.values() for place in part.models})
        if places != list(range(len(places))):
            yield f"the places of models must be 0, 1, ..., found {places}", "count the edge reward_models from 0"

    def models_needed(self) -> int:
        """Return how many models the edge must give."""
        return len({place for part in self.parts.values() for place in part.models})
