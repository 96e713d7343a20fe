"""The engine `length-curriculum`: MAI-Thinking-1's length curriculum, a token limit that grows with the steps.

It is an engine, not a reward: what is never sampled costs nothing. A completion that reaches the limit is cut there, as
one at the limit of `sampling` is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from collegium import ConfigError, Engine, Generation, SamplingParams, Use
from collegium.component import Kind
from collegium_rewards.configs import OWNER, CurriculumConfig

if TYPE_CHECKING:
    from collegium.training.language_model import LanguageModel


class LengthCurriculum(Engine):
    """Generate with another engine, up to the limit of the step."""

    Config = CurriculumConfig

    def __init__(self, config: CurriculumConfig | Mapping[str, Any] | None = None) -> None:
        super().__init__(config)
        self._inner: Engine | None = None
        self._step = 1

    @property
    def inner(self) -> Engine:
        """The engine that generates.

        Raises:
            ConfigError: If nothing has built it.
        """
        if self._inner is None:
            raise ConfigError("length-curriculum was not prepared", fix="let the run build it", owner=OWNER)
        return self._inner

    def prepare(self, build: Callable[[Use, Kind], Any]) -> None:
        """Build the engine; the run closes it."""
        self._inner = build(self.config.engine, "engine")
        self.in_flight = self.inner.in_flight  # type: ignore[misc]  # it is the inner engine's
        self.records_kept = self.inner.records_kept  # type: ignore[misc]  # as well
        self.reads_images = self.inner.reads_images  # type: ignore[misc]  # likewise

    def sync(self, policy: LanguageModel, version: int) -> None:
        """Hand the weights on; those of version ``v`` generate in step ``v + 1``."""
        self._step = version + 1
        self.inner.sync(policy, version)

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: SamplingParams,
        seeds: Sequence[int],
        images: Sequence[tuple[bytes, ...]] | None = None,
    ) -> Sequence[Generation]:
        """Generate up to the step's limit.

        Raises:
            ConfigError: If a limit is above the one of `sampling`, which is the longest that the stage is made for.
        """
        largest = max(self.config.limits.values())
        if largest > sampling.max_tokens:
            raise ConfigError(
                f"length-curriculum reaches {largest} tokens, and sampling.max_tokens is {sampling.max_tokens}",
                fix=f"set sampling.max_tokens: {largest}",
                owner=OWNER,
            )
        limit = limit_at(self.config.limits, self._step)
        shown = {} if images is None else {"images": images}
        return self.inner.generate(prompts, sampling.model_copy(update={"max_tokens": limit}), seeds, **shown)


def limit_at(limits: Mapping[int, int], step: int) -> int:
    """Return the limit that holds in a step."""
    return limits[max(start for start in limits if start <= step)]
