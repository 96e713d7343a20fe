"""Options of the merging stages (light: no torch)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from collegium import ConfigError
from collegium.kinds.stage import Artifact, Edge, StageConfig

OWNER = "collegium-merge"
DENSITIES = {"ties": 0.2, "dare": 0.1}
"""The papers' densities: TIES keeps the top fifth, DARE drops nine tenths."""


class MergeConfig(StageConfig):
    """One model from several."""

    requires: ClassVar[frozenset[Edge]] = frozenset({"average_of"})
    accepts: ClassVar[frozenset[Edge]] = frozenset({"reference"})

    method: Literal["average", "task-arithmetic", "ties", "dare"] = "average"
    """How; all but `average` add the models' changes to the model that `reference` names."""
    weights: dict[str, float] = {}
    """Source to weight, for every source of `average_of`; an average divides by their sum. Default: each 1."""
    scale: float = 1.0
    """Factor on the merged change (lambda of task arithmetic and TIES); not of `average`."""
    density: float | None = Field(default=None, gt=0, le=1)
    """Share of each model's change that is kept: `ties` keeps the largest (default 0.2), `dare` draws (default 0.1)."""

    def judges(self) -> bool:
        """Merging asks no verifier."""
        return False

    @property
    def kept(self) -> float:
        """The density in use."""
        return DENSITIES.get(self.method, 1.0) if self.density is None else self.density

    @model_validator(mode="after")
    def _options_fit_the_method(self) -> MergeConfig:
        if self.density is not None and self.method not in DENSITIES:
            self._refuse(f"density is of no use to {self.method}", "leave it out, or use ties or dare")
        if self.scale != 1 and self.method == "average":
            self._refuse("scale is of no use to an average", "leave it out, or use task-arithmetic")
        negative = sorted(name for name, weight in self.weights.items() if weight < 0)
        if negative and self.method in ("average", "ties"):
            self._refuse(f"{self.method} takes no negative weight, as of {', '.join(negative)}", "give weights from 0")
        if self.method in ("average", "ties") and self.weights and not any(self.weights.values()):
            self._refuse("all weights are 0", "give some source a weight")
        return self

    def _refuse(self, what: str, fix: str) -> None:
        raise ConfigError(what, fix=fix, owner=OWNER)


class MergeRewardModelConfig(MergeConfig):
    """One reward model from several."""

    produces: ClassVar[Artifact] = "reward_model"
