"""Stages: the nodes of a recipe's DAG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from collegium.component import Config, Configurable

if TYPE_CHECKING:
    from collegium.launch_config import LaunchConfig
    from collegium.training.context import StageContext

Edge = Literal[
    "init_from", "generate_from", "teachers", "reference", "average_of", "data_from", "prompts_from", "reward_models"
]
"""How one stage feeds another: weights, rollouts become data, live teachers, KL reference, weights averaged, data,
training tasks chosen by an earlier stage, and models that a reward source scores with (any stage that names a reward
source may have this one)."""

Artifact = Literal["model", "data", "reward_model", "report"]


class StageConfig(Config):
    """Base of a stage's options. Its class attributes tell the plan about the stage without importing torch."""

    requires: ClassVar[frozenset[Edge]] = frozenset({"init_from"})
    """Edges that the recipe must give."""
    accepts: ClassVar[frozenset[Edge]] = frozenset()
    """Further edges that the recipe may give."""
    produces: ClassVar[Artifact] = "model"
    """What the stage leaves behind."""
    distributed: ClassVar[bool] = False
    """Whether it can run on several ranks: it trains through `Trainer`, and all ranks come to the same batches."""

    loads_whole: ClassVar[bool] = False
    """Whether every rank loads a whole model whatever the strategy, as the stage's own class does not know how to wait:
    what `LanguageModel.load` gives is split from the first rank's main memory."""

    def libraries(self) -> Sequence[str]:
        """Return further distributions whose version the stage's numbers depend on, with these options."""
        return ()

    def judges(self) -> bool:
        """Whether the stage asks verifiers or rewards; if not, a changed verifier does not change its artifact."""
        return True

    def trains_beside(self, inputs: Mapping[Edge, Sequence[str]]) -> Sequence[str]:
        """Return where the models come from that the stage trains beside the one of `init_from`, such as a value
        function.

        Args:
            inputs: Edge to the stages and models that it names.
        """
        return ()

    def launch_problem(self, launch: LaunchConfig) -> str | None:
        """Say what was found and expected where these options cannot be launched so; None if they can."""
        return None


class Stage(Configurable):
    """One step of the recipe. Subclass, point `Config` at a `StageConfig`, and write `run`."""

    Config: ClassVar[type[StageConfig]] = StageConfig

    def run(self, context: StageContext) -> None:
        """Do the work: read inputs from `context`, and leave the artifact in ``context.output``.

        Must be restartable: a killed stage is run again and goes on from ``context.checkpoints``.
        """
        raise NotImplementedError
