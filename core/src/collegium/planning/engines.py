"""What a stage's engine holds on each device.

The core's engine samples with the trainer's weights. An engine with weights of its own is known by the option
`gpu_memory_utilization`; the options `dtype`, `tensor_parallel_size`, `kv_cache_gb`, `max_model_len`, `sleep_between`,
`url` and `devices` are read as the engines of `collegium-vllm` mean them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from collegium.planning import memory
from collegium.planning.memory import GIB, WIDTH
from collegium.planning.shapes import Unknown
from collegium.planning.workload import longest_sequence
from collegium.recipe.shape import ModelShape
from collegium.training.rollout_config import RolloutConfig

if TYPE_CHECKING:
    from collegium.planning.plan import PlannedStage

OWN = "collegium/transformers"
Part = int | Unknown


@dataclass(frozen=True, slots=True)
class EngineMemory:
    """What an engine holds on each device, in bytes.

    Args:
        weights: Weights of its own.
        cache: Its key-value cache.
        sampling: Its temporaries while it draws tokens.
        syncing: Weights that are put together for it before they are copied.
        keeps: Which of these it holds while others work.
    """

    weights: Part = 0
    cache: Part = 0
    sampling: Part = 0
    syncing: Part = 0
    keeps: frozenset[str] = frozenset()


NO_ENGINE = EngineMemory()


def engine_memory(stage: PlannedStage, config: RolloutConfig, shape: ModelShape) -> EngineMemory:
    """Return what the engine of a stage holds."""
    engine = stage.options["engine"]
    options: Mapping[str, Any] = engine["options"]
    if options.get("url") or options.get("devices"):  # a server on devices of its own
        return NO_ENGINE
    longest = longest_sequence(stage, shape)
    own = -(-config.prompts * config.group // stage.node.launch.ranks)
    if engine["use"] == OWN:
        copied = _samples_a_copy(stage, config)
        return _with_the_policy(shape, longest, min(own, options["batch"]), copied=copied)
    if "gpu_memory_utilization" in options:
        return _with_own_weights(stage, config, shape, longest, own)
    why = Unknown(f"the core does not know what the engine {engine['use']} holds")
    return EngineMemory(why, why, why)


def _samples_a_copy(stage: PlannedStage, config: RolloutConfig) -> bool:
    """Tell whether a plain copy of the model samples, as no rank has a whole one or it has an adapter.

    Rollouts that run ahead of training have a copy in any case, which is counted for itself.
    """
    return not config.staleness and (stage.node.launch.shards_weights or config.adapter is not None)


def _with_the_policy(shape: ModelShape, longest: Part, sequences: int, *, copied: bool) -> EngineMemory:
    """Sample with the trainer's weights, or a whole float32 copy, for which they are put together first."""
    cache = longest if isinstance(longest, Unknown) else memory.kv_cache(shape, sequences * longest, 4)
    grown = 0 if isinstance(cache, Unknown) else cache // (2 * shape.layers)  # a layer's keys, copied to be longer
    return EngineMemory(
        weights=4 * shape.count if copied else 0,
        cache=cache,
        sampling=memory.SAMPLED_LOGIT_COPIES * sequences * shape.vocabulary * 4 + grown,
        syncing=4 * shape.count if copied else 0,
        keeps=frozenset({"engine_weights"}),
    )


def _with_own_weights(
    stage: PlannedStage, config: RolloutConfig, shape: ModelShape, longest: Part, sequences: int
) -> EngineMemory:
    """Sample with a copy of the weights over `tensor_parallel_size` devices; the cache is what the engine reserves."""
    options = stage.options["engine"]["options"]
    ways = int(options.get("tensor_parallel_size") or 1)
    dtype = options.get("dtype") or "auto"
    width = WIDTH[config.precision if dtype == "auto" else dtype]
    weights = -(-shape.count * width // ways)
    capacity = stage.node.launch.device_memory_gb
    cache: Part
    if options.get("kv_cache_gb"):
        cache = int(options["kv_cache_gb"] * GIB)
    elif capacity is not None:
        cache = max(0, int(options["gpu_memory_utilization"] * capacity * GIB) - weights)
    elif isinstance(longest, Unknown):
        cache = longest
    else:
        cache = -(-memory.kv_cache(shape, sequences * longest, width) // ways)
    awake = not options.get("sleep_between")
    return EngineMemory(weights, cache, keeps=frozenset({"engine_weights", "kv_cache"} if awake else ()))
