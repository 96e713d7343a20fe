"""Options of the supervised stages (light: no torch)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from collegium.kinds.stage import Edge
from collegium.training.model_spec import ModelSpec
from collegium.training.supervised_config import SupervisedConfig


class PretrainConfig(SupervisedConfig):
    """Options of the stage `pretrain`."""

    requires: ClassVar[frozenset[Edge]] = frozenset()
    accepts: ClassVar[frozenset[Edge]] = frozenset({"init_from"})

    lr: float = Field(default=1e-3, gt=0)
    """Peak learning rate; higher than for fine-tuning, as the weights are random."""
    model: ModelSpec = ModelSpec()
    """The model to start from scratch; not used with `init_from`."""
    domains: list[str] | None = None
    """Whose text to read; None takes every domain's."""
    text: str | None = None
    """A text file to read as well; blank lines separate its documents."""

    def content_paths(self) -> Sequence[Path]:
        """Return the text file: what is in it is part of the fingerprint."""
        return (Path(self.text),) if self.text else ()


class SftConfig(SupervisedConfig):
    """Options of the stage `sft`."""

    accepts: ClassVar[frozenset[Edge]] = frozenset({"data_from"})

    domains: list[str] | None = None
    """Whose demonstrations to imitate; None takes every domain's, an empty list none."""
    max_per_domain: int | None = Field(default=None, ge=1)
    """At most this many demonstrations of a domain, chosen by the seed; None takes all."""
    data: str | None = None
    """A JSON Lines file of ``{"prompt", "completion"}`` to imitate as well."""

    def content_paths(self) -> Sequence[Path]:
        """Return the data file: what is in it is part of the fingerprint."""
        return (Path(self.data),) if self.data else ()
