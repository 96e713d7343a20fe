"""How many tokens a stage's steps and passes take, at most, from its options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from collegium.planning.shapes import Unknown
from collegium.recipe.shape import ModelShape
from collegium.training.optimizer_config import OptimizerConfig
from collegium.training.rollout_config import RolloutConfig
from collegium.training.supervised_config import SupervisedConfig

if TYPE_CHECKING:
    from collegium.planning.plan import PlannedStage


@dataclass(frozen=True, slots=True)
class Workload:
    """Upper bounds; how long the texts are is not known before they are read.

    Args:
        rows: Rows of one forward and backward pass on a rank.
        length: Tokens of a row.
        padded: Whether rows are padded, not packed.
        tokens_per_step: Tokens that an optimizer step reads, over all ranks.
        tokens_per_rollouts: Tokens that a batch of rollouts samples; None without rollouts.
    """

    rows: int
    length: int
    padded: bool
    tokens_per_step: int
    tokens_per_rollouts: int | None = None


def workload_of(stage: PlannedStage, config: OptimizerConfig, shape: ModelShape) -> Workload | Unknown:
    """Return the workload of a stage whose options the core knows."""
    ranks = stage.node.launch.ranks
    if isinstance(config, SupervisedConfig):
        length = min(config.row_tokens, shape.context or config.row_tokens)
        own, padded = _share(config.batch, ranks), config.layout == "length-grouped"
        rows = min(config.micro_batch, own)
        return Workload(rows, length, padded, config.batch * length)
    if isinstance(config, RolloutConfig):
        longest = longest_sequence(stage, shape)
        if isinstance(longest, Unknown):
            return longest
        rollouts = config.prompts * config.group
        in_step = _share(rollouts, config.minibatches)
        own = _share(in_step, ranks)
        rows, sampled = min(config.micro_batch, own), rollouts * config.sampling.max_tokens
        return Workload(rows, longest, True, in_step * longest, sampled)
    return Unknown(f"the core does not know the batches of {stage.entry.id}")


def longest_sequence(stage: PlannedStage, shape: ModelShape) -> int | Unknown:
    """Return the most tokens of a prompt with its completion: the engine's `max_model_len`, or the model's context."""
    engine = stage.options.get("engine") or {}
    limits = [limit for limit in (engine.get("options", {}).get("max_model_len"), shape.context) if limit]
    return min(limits) if limits else Unknown("the model's context is not given: give models.NAME.shape.context")


def _share(total: int, ranks: int) -> int:
    return -(-total // ranks)
