"""What a stage needs: how it is launched, the tokens of a step, and the memory of each device, phase by phase."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from collegium.launch_config import LaunchConfig
from collegium.planning.memory import size

ALWAYS = ("weights", "optimizer", "buckets", "beside", "reference", "reward_models", "ahead")
"""What every phase after loading holds."""
PHASES: Mapping[str, tuple[str, ...]] = {
    "load": ("loading",),
    "sync": (*ALWAYS, "engine_weights", "syncing"),
    "generate": (*ALWAYS, "engine_weights", "kv_cache", "sampling"),
    "judge": (*ALWAYS, "judging"),
    "score": (*ALWAYS, "teachers", "scoring"),
    "update": (*ALWAYS, "working", "gradients", "activations", "logits"),
}
"""The parts that are in memory at once; a stage's total is that of its largest phase. Rollouts that run ahead are
generated, judged and scored during the update: these phases hold its parts, too. Reward models are on the first rank's
device alone, which is then the fullest."""
AHEAD = ("generate", "judge", "score")
PARTS = tuple(dict.fromkeys(part for parts in PHASES.values() for part in parts))
REMEDIES: Mapping[str, str] = {
    "weights": "split them with launch.strategy fsdp2 or zero3, or over more ranks",
    "working": "use launch.strategy fsdp2 or zero3, whose ranks put together a layer at a time",
    "gradients": "split them with launch.strategy fsdp2, zero2 or zero3, or train an adapter",
    "optimizer": "split it over more ranks with launch.strategy fsdp2 or zero1 to zero3, or set launch.offload",
    "activations": "lower micro_batch, shorten the rows, or set launch.gradient_checkpointing",
    "logits": "lower the loss's chunk where it has one",
    "buckets": "use launch.strategy fsdp2 or zero1 to zero3, or train an adapter",
    "syncing": "serve the engine elsewhere",
    "engine_weights": "let the engine sleep while others work, spread it over more devices, or serve it elsewhere",
    "kv_cache": "lower the engine's batch or the longest sequence, or serve it elsewhere",
    "sampling": "lower the engine's batch",
    "teachers": "serve the teachers elsewhere",
    "beside": "split it over more ranks with launch.strategy fsdp2, or set launch.offload",
    "reward_models": "set the reward source's offload: cpu where it has one, or score with a smaller model",
    "judging": "score with a smaller reward model",
    "reference": "leave the reference out",
    "ahead": "set staleness: 0",
    "scoring": "leave the reference out or serve the teachers elsewhere: their layers are put together to score",
    "loading": "use launch.strategy fsdp2 without an adapter, whose first rank alone loads, in main memory",
}
"""What lowers each part."""


@dataclass(frozen=True, slots=True)
class StageResources:
    """What a stage needs; None is what cannot be known while planning, and `unknown` says why.

    Args:
        launcher: How its processes are started.
        ranks: How many train.
        engine: What generates; None if nothing does.
        model: Whose sizes were taken.
        parameters: Weights of that model.
        tokens_per_step: Most tokens that an optimizer step reads, over all ranks.
        tokens_per_rollouts: Most tokens that a batch of rollouts samples.
        bytes: Bytes on each device by part (see `PARTS`); a part that the stage does not have is 0.
        engine_keeps: Parts that the engine holds in other phases, too.
        host: Bytes in main memory, for each rank, of what waits there: offloaded parts, teachers and their states.
        host_first: Bytes in main memory of the first rank's machine for a while, by what they are: a model that is
            loaded there alone, the whole weights and optimizer of a checkpoint; reward models that wait there, always.
        capacity: Bytes of a device, if the recipe says.
        unknown: Part to the reason why it is None.
    """

    launcher: str
    ranks: int
    engine: str | None = None
    model: str | None = None
    parameters: int | None = None
    tokens_per_step: int | None = None
    tokens_per_rollouts: int | None = None
    bytes: Mapping[str, int | None] = field(default_factory=dict)
    engine_keeps: frozenset[str] = frozenset()
    host: int | None = None
    host_first: Mapping[str, int] = field(default_factory=dict)
    capacity: int | None = None
    unknown: Mapping[str, str] = field(default_factory=dict)

    def parts_of(self, phase: str) -> tuple[str, ...]:
        """Return the parts that a phase holds."""
        kept = self.engine_keeps if phase != "load" else ()
        beside = PHASES["update"] if phase in AHEAD and self.bytes.get("ahead") else ()
        return tuple(part for part in PARTS if part in PHASES[phase] or part in kept or part in beside)

    def phase(self, name: str) -> int:
        """Return the known bytes of a phase."""
        return sum(self.bytes.get(part) or 0 for part in self.parts_of(name))

    @property
    def peak(self) -> str:
        """The phase that holds most."""
        return max(tuple(PHASES)[::-1], key=self.phase)

    @property
    def total(self) -> int | None:
        """Known bytes of that phase: a lower bound where parts are unknown, None where not even the weights are."""
        return None if self.bytes.get("weights") is None else self.phase(self.peak)

    @property
    def warning(self) -> str | None:
        """What to say where the total exceeds the device: by how much, the largest part, and what lowers it."""
        if self.capacity is None or self.total is None or self.total <= self.capacity:
            return None
        largest = max(self.parts_of(self.peak), key=lambda part: self.bytes.get(part) or 0)
        return (
            f"needs {size(self.total)} in its phase {self.peak!r}, more than the device's {size(self.capacity)}; "
            f"most is {largest} ({size(self.bytes[largest] or 0)}): {REMEDIES[largest]}"
        )


def launcher_of(launch: LaunchConfig, executor: str) -> str:
    """Return in words how a stage's processes are started."""
    if launch.strategy == "single":
        return "in process" if executor == "collegium/in-process" else f"one worker, {executor.rpartition('/')[2]}"
    ranks = f"{launch.nodes}x{launch.processes}" if launch.nodes > 1 else f"{launch.processes}"
    return f"torchrun {ranks} rank{'s' if launch.ranks > 1 else ''}, {launch.strategy}"
