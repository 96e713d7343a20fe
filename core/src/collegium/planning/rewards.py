"""What the models of a stage's reward source hold where the first rank judges.

A source's models are those of the edge `reward_models`, if its options derive from `RewardConfig` and it needs some, or
those of its options `models` or `path`; the options `dtype`, `device` and `offload` are read as the first party's
sources mean them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from collegium.component import Config
from collegium.kinds.reward import RewardConfig
from collegium.planning.memory import WIDTH
from collegium.planning.shapes import Shapes, Unknown
from collegium.planning.stage_checks import rewards_in
from collegium.recipe.shape import ModelShape

if TYPE_CHECKING:
    from collegium.planning.plan import PlannedStage


@dataclass(frozen=True, slots=True)
class RewardMemory:
    """What reward models hold, in bytes.

    Args:
        kept: On the first rank's device, all the time.
        judging: On that device while it scores, besides.
        host: In the first rank's main memory.
    """

    kept: int = 0
    judging: int = 0
    host: int = 0


def reward_memory(stage: PlannedStage, shapes: Shapes) -> RewardMemory | Unknown:
    """Return what a stage's reward models hold; one that two sources score with is loaded by each."""
    kept, judging, host = 0, 0, 0
    for config, options in _sources(stage, stage.config, stage.options):
        for shape in _models(stage, shapes, config, options):
            if isinstance(shape, Unknown):
                return shape
            dtype = options.get("dtype", "float32")
            width = WIDTH[shape.dtype if dtype == "auto" else dtype]
            if options.get("offload") == "cpu":
                kept += 2 * shape.hidden * width  # the final norm and the head
                judging = max(judging, shape.layer_parameters * width, shape.embeddings * width)
                host += shape.count * width
            elif options.get("device") == "cpu":
                host += shape.count * width
            else:
                kept += shape.count * width
    return RewardMemory(kept, judging, host)


def _sources(stage: PlannedStage, config: Config, plain: Mapping[str, Any]) -> Iterator[tuple[Config, dict[str, Any]]]:
    """Yield the options of the reward sources that are not made of others."""
    for _, reward in rewards_in(config, plain):
        own = stage.components[f"reward:{reward['use']}"].config_class().model_validate(reward["options"])
        inner = list(_sources(stage, own, reward["options"]))
        yield from inner or [(own, dict(reward["options"]))]


def _models(
    stage: PlannedStage, shapes: Shapes, config: Config, options: Mapping[str, Any]
) -> list[ModelShape | Unknown]:
    """Return the shapes of the models that a source scores with; of several on the edge, the largest ones."""
    if named := options.get("models"):
        return [shapes.of_path(str(path)) for path in named]
    needed = config.models_needed() if isinstance(config, RewardConfig) else 0
    if needed:
        found = [shapes.of(name) for name in stage.node.inputs.get("reward_models", [])]
        return sorted(found, key=lambda each: 0 if isinstance(each, Unknown) else -each.count)[:needed]
    path = options.get("path")
    return [] if path is None else [shapes.of_path(str(path))]
