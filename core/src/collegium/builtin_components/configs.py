"""Options of the core's own components (light: no torch)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from collegium.component import Config
from collegium.kinds.teacher import TeacherConfig
from collegium.model_files import check_model_folder, is_local


class TransformersEngineConfig(Config):
    """Options of the engine `transformers`."""

    batch: int = Field(default=256, ge=1)
    """Most sequences decoded at once; prompts are sorted by length first."""


class ShuffledConfig(Config):
    """Options of the sampler `shuffled`."""


class StratifiedConfig(Config):
    """Options of the sampler `stratified`."""

    shares: dict[str, float] = Field(default={})
    """Domain to its share of each step's prompts; they are scaled to sum to 1. Default: equal shares."""


class CheckpointTeacherConfig(TeacherConfig):
    """Options of the teacher `checkpoint`."""

    path: str
    """Folder or hub name of the model."""
    offload: Literal["cpu", "disk"] = "cpu"
    """Where the weights wait while the teacher is closed: in main memory, or on disk, to be read again each time."""
    micro_batch: int = Field(default=64, ge=1)
    """Sequences scored at once."""

    def local_model(self) -> str:
        """Return the checkpoint."""
        return self.path

    def content_paths(self) -> Sequence[Path]:
        """Return the model's folder, checked, where it is a local one."""
        if not is_local(self.path):
            return ()
        check_model_folder(self.path)
        return (Path(self.path),)


class DomainVerifierConfig(Config):
    """Options of the reward `domain-verifier`."""
