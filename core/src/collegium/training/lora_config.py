"""Options of an adapter that is trained in place of the whole model (light: neither torch nor peft)."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal

from pydantic import Field, model_validator

from collegium.component import Config


class LoraConfig(Config):
    """LoRA (arXiv 2106.09685): each linear layer's weight ``W`` becomes ``W + alpha / rank * B @ A``; only ``A`` and
    ``B`` are trained. What the stage leaves is a plain model with the product added to its weights.
    """

    rank: int = Field(default=16, ge=1)
    """Rows of ``A`` and columns of ``B``."""
    alpha: float = Field(default=32.0, gt=0)
    """Scale of the product, divided by the rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of ``A``'s inputs that is dropped in training, where the stage trains in training mode."""
    targets: tuple[str, ...] = ()
    """Names of the decoder's linear layers that get one, such as ``q_proj``; default: all of them."""
    quantise: Literal["none", "nf4"] = "none"
    """Precision of the decoder's frozen linear layers. ``nf4``: QLoRA (arXiv 2305.14314), four bits per weight."""

    @model_validator(mode="after")
    def _installed(self) -> LoraConfig:
        needed = {"peft": "lora"} | ({"bitsandbytes": "qlora"} if self.quantise == "nf4" else {})
        for module, extra in needed.items():
            if find_spec(module) is None:
                raise ValueError(f"an adapter needs {module}, which is not installed: pip install 'collegium[{extra}]'")
        return self
