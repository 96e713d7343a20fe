"""Options that stages of supervised steps share (light: no torch)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from collegium.training.optimizer_config import OptimizerConfig


class SupervisedConfig(OptimizerConfig):
    """Steps, batches and their layout."""

    steps: int = Field(default=400, ge=1)
    """Optimizer steps."""
    batch: int = Field(default=64, ge=1)
    """Examples of a step."""
    layout: Literal["packed", "length-grouped"] = "packed"
    """Several examples per row that cannot see each other, or one per row with rows of like length together."""
    row_tokens: int = Field(default=256, ge=2)
    """Most tokens of a row, and so of an example. Attention's cost grows with it: a few examples a row are best."""
    micro_batch: int = Field(default=16, ge=1)
    """Rows of one forward and backward pass."""

    def judges(self) -> bool:
        """Learning from given text asks no verifier."""
        return False
