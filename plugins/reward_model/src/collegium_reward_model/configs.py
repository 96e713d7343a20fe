"""Options of the stage and of the reward source (light: no torch)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from collegium import ConfigError
from collegium.kinds.data_files import DataFiles, locate
from collegium.kinds.reward import RewardConfig
from collegium.kinds.stage import Artifact, Edge
from collegium.model_files import check_model_folder, is_local
from collegium.training.optimizer_config import OptimizerConfig

OWNER = "collegium-reward-model"

MARGINS: Mapping[str, Mapping[str, float]] = {
    "large": {"significantly": 3.0, "better": 2.0, "slightly": 1.0, "negligibly": 0.0},
    "small": {"significantly": 1.0, "better": 2 / 3, "slightly": 1 / 3, "negligibly": 0.0},
}
"""Llama 2's margins by rating (arXiv 2307.09288, appendix)."""


class RewardModelConfig(OptimizerConfig):
    """Options of the stage `reward-model`."""

    accepts: ClassVar[frozenset[Edge]] = frozenset({"data_from"})
    produces: ClassVar[Artifact] = "reward_model"

    steps: int = Field(default=200, ge=1)
    """Optimizer steps."""
    batch: int = Field(default=32, ge=1)
    """Prompts of a step, each with all its completions and all their pairs."""
    micro_batch: int = Field(default=64, ge=2)
    """Most completions of one forward and backward pass; those of one prompt always stay together."""
    data: DataFiles = []
    """JSON Lines files (plain or gzipped) of pairs or rankings; ``$COLLEGIUM_DATA/FILE`` is a file of the folder of
    real data."""
    prompt_fields: list[str] = Field(default=["prompt"], min_length=1)
    """Fields of a file's rows that make the prompt; texts of several each end with a newline, empty ones are
    left out. A row without `prompt` may have `instruction` and `input`."""
    limit: int | None = Field(default=None, ge=1)
    """At most this many rankings of each file and earlier stage that fit, chosen by the seed; None takes all."""
    max_tokens: int | None = Field(default=None, ge=2)
    """Most tokens of a prompt with a completion; None: the model's context."""
    too_long: Literal["refuse", "drop"] = "refuse"
    """What to do with a ranking of which a completion is longer: stop, or leave it out and say how many were."""
    unencodable: Literal["refuse", "drop"] = "refuse"
    """What to do with a ranking that has characters for which the model's tokenizer has no token: stop, or leave it out
    and say how many were."""
    loss: Literal["ranking", "margin"] = "ranking"
    """``-log sigmoid(r_better - r_worse)``; or Llama 2's, less a margin that each row states."""
    margins: Literal["large", "small"] = "large"
    """What a rating in words is worth: 3, 2, 1, 0, or 1, 2/3, 1/3, 0. A row may give a number instead."""
    centering: float = Field(default=0.0, ge=0)
    """Weight of ``(r_better + r_worse)^2``, which keeps rewards around 0. A usual one is 0.01."""
    heldout: float = Field(default=0.1, gt=0, lt=1)
    """Share of the prompts kept out of training, chosen by the seed, at least one."""
    evaluate_every: int = Field(default=50, ge=1)
    """Steps after which the held-out prompts are looked at; the last step always does."""

    def content_paths(self) -> Sequence[Path]:
        """Return the data files: what is in them is part of the fingerprint."""
        return [locate(name) for name in self.data]

    def judges(self) -> bool:
        """Learning from given preferences asks no verifier."""
        return False


class RewardModelRewardConfig(RewardConfig):
    """Options of the reward source `reward-model`."""

    models: list[str] = []
    """Folders or hub names of the reward models; default: those of the stage's edge `reward_models`."""
    combine: Literal["single", "gated"] = "single"
    """One model; or two, helpfulness and then safety: the safety score counts where the prompt is about safety or the
    answer scores below `threshold` (Llama 2)."""
    threshold: float = Field(default=0.15, gt=0, lt=1)
    """Safety, after the sigmoid, below which an answer counts as unsafe. Llama 2: 0.15."""
    safety_domains: list[str] = []
    """Domains whose prompts are about safety; a task with ``is_safety: true`` in its data is one anywhere."""
    output: Literal["logit", "sigmoid", "normalised", "whitened"] = "logit"
    """The model's number; its sigmoid; less the held-out mean over the held-out deviation; or whitened over the batch
    that is scored together (Llama 2)."""
    micro_batch: int = Field(default=64, ge=1)
    """Completions scored at once."""
    offload: Literal["none", "cpu"] = "none"
    """Where embeddings and layers wait: on the device; or in main memory, each on the device while it runs. That is
    for models that the device of the rank that judges cannot hold; each micro-batch then moves all of a model there."""

    @model_validator(mode="after")
    def _fits_together(self) -> RewardModelRewardConfig:
        wanted = models_of(self.combine)
        if self.models and len(self.models) != wanted:
            raise ConfigError(
                f"combine: {self.combine} scores with {wanted} models, found {len(self.models)} in models",
                fix="name helpfulness, then safety, for gated; one model for single",
                owner=OWNER,
            )
        if self.combine == "gated" and self.output == "normalised":
            raise ConfigError(
                "output: normalised is for one model, whose held-out mean and deviation it uses, found combine: gated",
                fix="use output: whitened, as Llama 2 does",
                owner=OWNER,
            )
        return self

    def models_needed(self) -> int:
        """Return how many models the edge must give: none where the options name them."""
        return 0 if self.models else models_of(self.combine)

    def content_paths(self) -> Sequence[Path]:
        """Return the local models' folders, checked."""
        folders = [Path(model) for model in self.models if is_local(model)]
        for folder in folders:
            check_model_folder(folder)
        return folders


def models_of(combine: str) -> int:
    """Return how many models a combination scores with."""
    return 2 if combine == "gated" else 1
