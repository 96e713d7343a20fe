"""Options of the core's own components (light: no torch)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from collegium.component import Config


class TransformersEngineConfig(Config):
    """Options of the engine `transformers`."""

    batch: int = Field(default=256, ge=1)
    """Most sequences decoded at once; prompts are sorted by length first."""


class ShuffledConfig(Config):
    """Options of the sampler `shuffled`."""


class StratifiedConfig(Config):
    """Options of the sampler `stratified`."""

    shares: dict[str, float] = {}
    """Domain to its share of each step's prompts; they are scaled to sum to 1. Default: equal shares."""


class CheckpointTeacherConfig(Config):
    """Options of the teacher `checkpoint`."""

    path: str
    """Folder or hub name of the model."""
    offload: Literal["cpu", "disk"] = "cpu"
    """Where the weights wait while the teacher is closed: in main memory, or on disk to be read again at each opening."""
    micro_batch: int = Field(default=64, ge=1)
    """Sequences scored at once."""


class DomainVerifierConfig(Config):
    """Options of the reward `domain-verifier`."""
