"""Options of the supervised stages (light: no torch)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from collegium.kinds.data_files import DataFiles, locate
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
    """A text file to read as well, whose documents blank lines separate, or JSON Lines of ``{"text"}``;
    ``$COLLEGIUM_DATA/FILE`` is a file of the folder of real data."""

    def content_paths(self) -> Sequence[Path]:
        """Return the text file: what is in it is part of the fingerprint."""
        return (locate(self.text),) if self.text else ()


class SftConfig(SupervisedConfig):
    """Options of the stage `sft`."""

    accepts: ClassVar[frozenset[Edge]] = frozenset({"data_from"})

    domains: list[str] | None = None
    """Whose demonstrations to imitate; None takes every domain's, an empty list none."""
    max_per_domain: int | None = Field(default=None, ge=1)
    """At most this many demonstrations of a domain, chosen by the seed; None takes all."""
    data: DataFiles = []
    """JSON Lines files of ``{"prompt", "completion"}`` or ``{"instruction", "input", "output"}`` to imitate as well;
    ``$COLLEGIUM_DATA/FILE`` is a file of the folder of real data."""
    limit: int | None = Field(default=None, ge=1)
    """At most this many rows of each file and earlier stage, chosen by the seed; None takes all."""
    too_long: Literal["refuse", "drop"] = "refuse"
    """What to do with an example of more than `row_tokens`, or the model's context: stop, or leave it out and say how
    many were."""
    weights: dict[str, Annotated[float, Field(gt=0)]] = {}
    """Domain to its share of every batch, in proportion to the others; a row that says no domain is of `other`. Empty:
    every example is seen once per epoch. MAI-Thinking-1: 0.56 STEM, 0.11 agentic, 0.33 helpful and safe."""
    text_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of every batch that is raw text, all of it trained: of the domains, or of `text`. MAI-Thinking-1 mixes
    mid-training data in."""
    text: str | None = None
    """With `text_share`: a text file, as `pretrain` reads it, in place of the domains' texts."""

    @model_validator(mode="after")
    def _text_is_read(self) -> SftConfig:
        if self.text is not None and not self.text_share:
            raise ValueError("text is given and text_share is 0: none of it would be read; set text_share, such as 0.1")
        return self

    def content_paths(self) -> Sequence[Path]:
        """Return the data files: what is in them is part of the fingerprint."""
        return [locate(name) for name in (*self.data, *filter(None, [self.text]))]
