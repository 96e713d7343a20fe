"""How a stage is launched: how many processes, on how many machines, and what each of them holds (light: no torch)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from collegium.component import Config

Strategy = Literal["single", "ddp", "fsdp2", "zero1", "zero2", "zero3"]
"""``single``: one process. ``ddp``: every rank has everything. ``fsdp2``: PyTorch's `fully_shard`. ``zeroN``: DeepSpeed
ZeRO, which splits the optimizer (1), the gradients too (2), the weights too (3)."""


class LaunchConfig(Config):
    """How a stage's training is spread. The numbers that it computes do not depend on it, up to rounding."""

    strategy: Strategy = "single"
    """How weights, gradients and optimizer are spread over the ranks."""
    processes: int = Field(default=1, ge=1, le=1024)
    """Ranks on each machine, usually one per accelerator."""
    nodes: int = Field(default=1, ge=1, le=4096)
    """Machines."""
    offload: Literal["none", "optimizer", "parameters"] = "none"
    """What waits in main memory: the optimizer's state, or the weights too."""
    gradient_checkpointing: bool = False
    """Keep one activation per layer and compute the others again in the backward pass."""
    compile: bool = False
    """Compile the decoder's layers with `torch.compile`."""
    device_memory_gb: float | None = Field(default=None, gt=0)
    """Memory of one accelerator, in GiB; the plan warns where its estimate is larger."""

    @property
    def ranks(self) -> int:
        """Ranks over all machines."""
        return self.processes * self.nodes

    @property
    def shards_weights(self) -> bool:
        """Whether no rank holds the whole model."""
        return self.strategy in ("fsdp2", "zero3")

    @model_validator(mode="after")
    def _fits_together(self) -> LaunchConfig:
        if self.strategy == "single" and self.ranks > 1:
            raise ValueError(f"{self.ranks} ranks need a strategy: ddp, fsdp2, zero1, zero2 or zero3")
        if self.offload != "none" and self.strategy in ("single", "ddp", "zero1"):
            raise ValueError(f"offload {self.offload!r} needs the strategy fsdp2, zero2 or zero3, not {self.strategy}")
        if self.offload == "parameters" and self.strategy == "zero2":
            raise ValueError("offload 'parameters' needs the strategy fsdp2 or zero3")
        return self
