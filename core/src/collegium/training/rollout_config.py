"""Options that stages learning from rollouts share (light: no torch)."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from collegium.component import Use, UseEngine, UseSampler
from collegium.errors import ConfigError
from collegium.kinds.engine import SamplingParams
from collegium.kinds.stage import Edge
from collegium.training.optimizer_config import OptimizerConfig


class RolloutConfig(OptimizerConfig):
    """Steps, rollouts, and how a batch of them becomes optimizer steps."""

    accepts: ClassVar[frozenset[Edge]] = frozenset({"prompts_from"})

    steps: int = Field(default=60, ge=1)
    """Batches of rollouts."""
    prompts: int = Field(default=32, ge=1)
    """Prompts of a batch."""
    group: int = Field(default=8, ge=1)
    """Completions of each prompt."""
    sampling: SamplingParams = SamplingParams()
    """How to sample them. All log-probs and entropies are of the distribution that this samples from: of the logits
    over `temperature` (DeepSeek-R1: 1, in its last stage 0.7), with `keep_mask` over what `top_p` kept."""
    engine: UseEngine = Use(use="collegium/transformers")
    """What samples them."""
    sampler: UseSampler = Use(use="collegium/shuffled")
    """Which prompts, and which groups are kept."""
    max_refills: int = Field(default=0, ge=0)
    """How often the groups that the sampler drops are replaced by further draws."""
    staleness: int = Field(default=0, ge=0)
    """Batches by which rollouts run ahead of training: each is sampled with weights that many updates old. 0 samples
    with the current ones, in turn with training; above 0, sampling, judging and teachers overlap with it."""
    epochs: int = Field(default=1, ge=1)
    """Passes over a batch."""
    minibatches: int = Field(default=1, ge=1)
    """Optimizer steps of a pass."""
    micro_batch: int = Field(default=32, ge=1)
    """Sequences of one forward and backward pass."""
    aggregation: Literal["sequence-mean", "token-mean", "constant"] = "token-mean"
    """From per-token losses to one number; ``constant`` divides by `sampling.max_tokens`."""
    handshake: float = Field(default=0.05, gt=0)
    """Greatest mean difference, in nats, of engine's and trainer's log-probs on the first batch."""

    @model_validator(mode="after")
    def _trains_what_was_sampled(self) -> RolloutConfig:
        """Refuse sampling whose log-probs have no gradient, or are of another distribution than the trained one."""
        sampling = self.sampling
        if sampling.temperature == 0:
            raise ValueError("sampling at temperature 0 is greedy: there is no distribution to learn; set it above 0")
        if sampling.top_p != 1 and not sampling.keep_mask:
            raise ValueError(
                f"sampling at top_p {sampling.top_p:g} draws from another distribution than the one that is trained: "
                "add keep_mask: true, which trains over the ids that were kept, or set top_p: 1"
            )
        return self

    @property
    def optimizer_steps(self) -> int:
        """Optimizer steps of the whole stage."""
        return self.steps * self.epochs * self.minibatches


def check_plain(sampling: SamplingParams) -> None:
    """Refuse what a comparison with teachers leaves out: their log-probs are of the whole plain distribution.

    Raises:
        ConfigError: If the temperature is not 1, or truncation cuts something.
    """
    if sampling.temperature != 1 or sampling.top_p != 1:
        raise ConfigError(
            f"sampling at temperature {sampling.temperature:g} and top_p {sampling.top_p:g}: teachers' log-probs are "
            "of the whole distribution at temperature 1, and the student's must be, too",
            fix="set sampling: {temperature: 1, top_p: 1} in stages with teachers",
        )
