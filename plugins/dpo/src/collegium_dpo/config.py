"""Options of the stage `dpo` (light: no torch)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from collegium.kinds.data_files import DataFiles, locate
from collegium.kinds.stage import Edge
from collegium.training.optimizer_config import OptimizerConfig
from collegium_dpo.loss_config import DpoLoss, PreferenceLoss


class DpoConfig(OptimizerConfig):
    """Preference training on pairs."""

    accepts: ClassVar[frozenset[Edge]] = frozenset({"reference", "data_from"})

    loss: PreferenceLoss = DpoLoss()
    """`dpo`, `ipo`, `kto`, `orpo` or `simpo`, with its options."""
    data: DataFiles = []
    """JSON Lines files of pairs; ``$COLLEGIUM_DATA/FILE`` is a file of the folder of real data."""
    limit: int | None = Field(default=None, ge=1)
    """At most this many pairs of each file and earlier stage that fit, chosen by the seed; None takes all."""
    lr: float = Field(default=1e-5, gt=0)
    """Peak learning rate. Llama 3: 1e-5; Tulu 3: 5e-7; OLMo 3: 8e-8 to 1e-6."""
    steps: int = Field(default=100, ge=1)
    """Optimizer steps."""
    batch: int = Field(default=32, ge=1)
    """Pairs of a step."""
    micro_batch: int = Field(default=8, ge=1)
    """Pairs of one forward and backward pass."""
    max_tokens: int = Field(default=512, ge=2)
    """Most tokens of a prompt with a completion."""
    too_long: Literal["refuse", "drop"] = "refuse"
    """What to do with a pair of more than `max_tokens`: stop, or leave it out and say how many were."""
    unencodable: Literal["refuse", "drop"] = "refuse"
    """What to do with a pair that has characters for which the model's tokenizer has no token: stop, or leave it out
    and say how many were."""
    heldout: int = Field(default=0, ge=0)
    """Pairs kept aside, with their prompts, and measured before the first step and after the last."""
    warn_chosen_drop: float = Field(default=0.5, gt=0)
    """Warn once a batch's chosen log-prob lies this far below the reference's, in nats per token."""

    def content_paths(self) -> Sequence[Path]:
        """Return the data files: what is in them is part of the fingerprint."""
        return [locate(name) for name in self.data]

    def judges(self) -> bool:
        """Learning from given pairs asks no verifier."""
        return False
