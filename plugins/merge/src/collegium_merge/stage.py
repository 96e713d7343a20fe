"""Merging: the weights of several models become one model, without training.

Averages are Llama 3's (arXiv 2407.21783), which averages models of different data and hyper-parameters at the
reward-model, SFT and DPO stages. Changes are those from the model that `reference` names, the common ancestor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

from torch import Tensor

from collegium import RecipeError, Stage
from collegium.training.checkpoint import write_aside
from collegium.training.context import StageContext
from collegium.training.seeds import derive
from collegium_merge.config import OWNER, MergeConfig, MergeRewardModelConfig
from collegium_merge.merger import Merger
from collegium_merge.source import SourceModel, check_alike
from collegium_merge.writer import write_model


class MergeStage(Stage):
    """Merge the models of `average_of`."""

    Config = MergeConfig

    def run(self, context: StageContext) -> None:
        """Check the models, merge them tensor by tensor, and say how far each lies from the result."""
        config: MergeConfig = self.config
        sources = [SourceModel(each.source, each.path) for each in context.job.inputs.get("average_of", [])]
        weights = self._weights(context, sources)
        base = self._base(context)
        self._check_kind(context, sources)
        check_alike([*sources, *([base] if base else [])])
        merger = Merger(config, sources, weights, base, derive(context.seed, context.job.id, "dare"))
        distances = Distances([*sources, *([base] if base else [])])

        def tensor_of(name: str) -> Tensor:
            merged = merger.merge(name)
            distances.add(name, merged)
            return merged

        context.journal.cut(0)
        write_aside(context.output / "model", partial(write_model, like=sources[0], tensor_of=tensor_of))
        context.emit(1, 1, distances.metrics())

    def _weights(self, context: StageContext, sources: Sequence[SourceModel]) -> list[float]:
        """Return each source's weight.

        Raises:
            RecipeError: If a source is named twice, or the weights are not those of the sources.
        """
        names = [source.name for source in sources]
        given = self.config.weights
        if len(set(names)) < len(names) or (given and set(given) != set(names)):
            raise RecipeError(
                f"stage {context.job.id!r}: average_of gives {', '.join(names)}; weights are of "
                f"{', '.join(given) or 'none'}; expected each source once, with its weight",
                fix="name every source once in average_of and in weights",
                owner=OWNER,
            )
        return [given.get(name, 1.0) for name in names]

    def _check_kind(self, context: StageContext, sources: Sequence[SourceModel]) -> None:
        """Refuse reward models where a language model is to come out, and the reverse.

        Raises:
            RecipeError: If the first source is of the other kind.
        """
        found = sources[0].architecture
        rewards = self.config.produces == "reward_model"
        if found.endswith("ForSequenceClassification") != rewards:
            raise RecipeError(
                f"stage {context.job.id!r} leaves a {self.config.produces}, and {sources[0].name!r} is a {found}",
                fix=f"use {'merge' if rewards else 'merge-reward-model'}",
                owner=OWNER,
            )

    def _base(self, context: StageContext) -> SourceModel | None:
        """Return the common ancestor, which all methods but the average need.

        Raises:
            RecipeError: If it is missing, or given to an average.
        """
        path, method = context.input("reference"), self.config.method
        if (path is None) != (method == "average"):
            what = f"{method} needs the common ancestor as reference" if path is None else "an average has no reference"
            fix = "add reference: MODEL" if path is None else "leave reference out, or use task-arithmetic"
            raise RecipeError(f"stage {context.job.id!r}: {what}", fix=fix, owner=OWNER)
        return None if path is None else SourceModel(context.job.inputs["reference"][0].source, path)


class MergeRewardModelStage(MergeStage):
    """Merge reward models."""

    Config = MergeRewardModelConfig


class Distances:
    """How far models lie from the merged one: the root mean square over all weights.

    Args:
        models: The models.
    """

    def __init__(self, models: Sequence[SourceModel]) -> None:
        self.models = models
        self.squares = dict.fromkeys((model.name for model in models), 0.0)
        self.tensors = self.weights = 0

    def add(self, name: str, merged: Tensor) -> None:
        """Take a tensor of the merged model into account."""
        self.tensors += 1
        self.weights += merged.numel()
        for model in self.models:
            self.squares[model.name] += float((model.read(name).double() - merged.double()).square().sum())

    def metrics(self) -> dict[str, float]:
        """Return ``distance/<model>``, and how much was merged."""
        distances = {f"distance/{name}": math.sqrt(total / self.weights) for name, total in self.squares.items()}
        return {"tensors": float(self.tensors), "weights": float(self.weights), **distances}
