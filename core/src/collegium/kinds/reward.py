"""Reward sources: score a batch of samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from collegium.component import Config, Use
from collegium.errors import PluginError
from collegium.kinds.adaptive import Adaptive
from collegium.task import Sample
from collegium.verdict import Verdict

if TYPE_CHECKING:
    from collegium.judge import Judge, RewardJudge


class PartBuilder(Protocol):
    """Builds what a reward source is composed of."""

    def __call__(
        self, use: Use, kind: Literal["reward", "verifier"], models: Sequence[str] = ()
    ) -> Judge | RewardJudge:
        """Return the component wrapped with its checks, time limit and error budget, charged to its own distribution.

        Whoever builds closes it: the source does not.

        Args:
            use: The component, as the source's options name it.
            kind: What it is.
            models: What a reward source gets as the `models` of its context.
        """


def no_parts(
    use: Use,
    kind: Literal["reward", "verifier"],
    models: Sequence[str] = (),  # noqa: ARG001  # the signature is the builder's
) -> Judge | RewardJudge:
    """Refuse to build: the context of a run has a builder, one that is made by hand may have none."""
    raise PluginError(
        f"nothing here builds the {kind} {use.use!r}", fix="prepare the source with a context that has `build`"
    )


@dataclass(frozen=True, slots=True)
class RewardContext:
    """What a reward source may use.

    Args:
        judges: The verifier of each domain, already wrapped with time limits and budget.
        models: Folders or hub names that the edge `reward_models` gives, in the recipe's order.
        build: Builds the verifiers and reward sources that the options name.
    """

    judges: Mapping[str, Judge]
    models: Sequence[str] = ()
    build: PartBuilder = no_parts


class RewardConfig(Config):
    """Base of the options of a reward source that scores with models; other sources may derive from plain `Config`."""

    def models_needed(self) -> int:
        """Return how many models the edge `reward_models` must give; the plan refuses any other number.

        A class that does not say hands its models on: what the reward sources that its options name need is needed.
        """
        return 0


class RewardSource(Adaptive):
    """Score samples; any finite number is a legal score. Subclass and write `score`."""

    timeout_s: ClassVar[float] = 60.0
    """Seconds that one sample may take; the core multiplies by the batch."""

    def prepare(self, context: RewardContext) -> None:
        """Take what the run offers; called once before the first `score`."""

    def score(self, batch: Sequence[Sample]) -> Sequence[Verdict]:
        """Score each sample, in order; one verdict per sample."""
        raise NotImplementedError

    def close(self) -> None:
        """Release what the reward source holds."""
