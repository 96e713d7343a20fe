"""Optimizer options that every stage with gradient steps shares (light: no torch)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from collegium.kinds.stage import StageConfig
from collegium.launch_config import LaunchConfig
from collegium.training.lora_config import LoraConfig


class OptimizerConfig(StageConfig):
    """AdamW, its schedule and the gradient's clipping."""

    distributed: ClassVar[bool] = True

    lr: float = Field(default=1e-4, gt=0)
    """Peak learning rate."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """What the learning rate does after the warm-up; linear and cosine end at 0."""
    warmup: int = Field(default=0, ge=0)
    """Steps over which the learning rate rises linearly from 0."""
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW's decay rates."""
    weight_decay: float = Field(default=0.0, ge=0)
    """AdamW's decoupled weight decay."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Norm to which a step's gradient is clipped."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Precision of the layers' numbers; weights are updated, and kept by the optimizer, in float32."""
    adapter: LoraConfig | None = None
    """An adapter that is trained in place of the whole model."""

    def libraries(self) -> tuple[str, ...]:
        """Return what an adapter's numbers depend on: its version is part of the fingerprint."""
        if self.adapter is None:
            return ()
        return ("peft",) if self.adapter.quantise == "none" else ("peft", "bitsandbytes")

    def launch_problem(self, launch: LaunchConfig) -> str | None:
        """Say why the stage cannot be launched so; None if it can."""
        if self.adapter is not None and self.adapter.quantise != "none" and launch.strategy not in ("single", "ddp"):
            return (
                f"adapter.quantise {self.adapter.quantise} packs weights in a form that {launch.strategy} cannot "
                "handle; expected the strategy single or ddp"
            )
        if launch.compile and launch.strategy == "zero3":
            return (
                "launch.compile cannot trace zero3, which fetches weights inside the layers; expected another strategy"
            )
        return None
