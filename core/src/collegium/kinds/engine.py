"""Engines: generate completions and record the behaviour log-probs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, model_validator

from collegium.component import Config, Configurable, Kind, Use
from collegium.task import FinishReason

if TYPE_CHECKING:
    from collegium.training.language_model import LanguageModel


class SamplingParams(Config):
    """How to sample. A stage that trains on it takes log-probs and entropy of the distribution that is sampled from."""

    max_tokens: int = Field(default=64, ge=1)
    """Most tokens of a completion, end-of-sequence included."""
    temperature: float = Field(default=1.0, ge=0)
    """Softmax temperature; 0 is greedy."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Nucleus mass in (0, 1]; 1 keeps every token."""
    keep_mask: bool = False
    """Record, of each token, which ids `top_p` kept, so that training takes its log-probs over these alone (the keep
    sampling mask of DeepSeek-V3.2; MAI-Thinking-1 replays it at top-p 0.97 and diverges without)."""

    @model_validator(mode="after")
    def _mask_cuts_something(self) -> SamplingParams:
        if self.keep_mask and (self.top_p == 1 or self.temperature == 0):
            raise ValueError(
                f"keep_mask records what top_p cuts off, and at top_p {self.top_p:g} and temperature "
                f"{self.temperature:g} that is nothing: leave it out, or set top_p such as 0.97"
            )
        return self


@dataclass(frozen=True, slots=True)
class Generation:
    """One completion as sampled.

    Args:
        token_ids: Sampled ids, end-of-sequence included if it was sampled.
        logprobs: Behaviour log-prob of each sampled id, in nats, under the distribution that was sampled from.
        finish_reason: ``"stop"`` or ``"length"``.
        weight_version: The optimizer step whose weights generated it.
        sampled: Which of the ids the model sampled; the others came from an environment, are read and never trained,
            and have log-prob 0. None: all of them.
        kept: Of each token, the ids that truncation (`top_p`) kept when it was sampled; None where nothing was cut.
    """

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    finish_reason: FinishReason
    weight_version: int
    sampled: tuple[bool, ...] | None = None
    kept: tuple[tuple[int, ...], ...] | None = None

    @property
    def length(self) -> int:
        """How many tokens the model sampled."""
        return len(self.token_ids) if self.sampled is None else sum(self.sampled)


class Engine(Configurable):
    """Generate from token ids. The run hands the policy over with `sync` at first and after each update."""

    in_flight: ClassVar[bool] = False
    """Whether `sync` copies the weights, and may be called while `generate` runs in another thread; each generation
    then tells the oldest version that it was sampled with. Others are given, where rollouts run ahead of training, a
    copy of the policy that training does not change, and only between two calls of `generate`."""

    records_kept: ClassVar[bool] = False
    """Whether it fills `Generation.kept` where `SamplingParams.keep_mask` asks for it; stages refuse others then."""

    reads_images: ClassVar[bool] = False
    """Whether `generate` takes `images`; others are refused where a prompt has pictures."""

    def prepare(self, build: Callable[[Use, Kind], Any]) -> None:
        """Take what builds the components that the options name; called once, first. Default: there are none."""

    def sync(self, policy: LanguageModel, version: int) -> None:
        """Take the policy's current weights; `version` is the optimizer step that they come from."""
        raise NotImplementedError

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: SamplingParams,
        seeds: Sequence[int],
        images: Sequence[tuple[bytes, ...]] | None = None,
    ) -> Sequence[Generation]:
        """Return one generation per prompt, in order.

        `images`, given only where some prompt has pictures, are each prompt's, as PNG files in memory; its ids hold a
        picture's placeholder as often as the policy's processor makes tokens of the picture.

        Each prompt has a seed of its own, in [0, 2^63): the same prompt, seed and weights give the same tokens,
        whatever else is in the call, so that ranks may share the prompts and a call may be repeated.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Release what the engine holds."""
