"""What a model from scratch is made of, as options of a stage (light: no torch)."""

from __future__ import annotations

import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from collegium.component import Config
from collegium.model_files import is_local

PRINTABLE_ASCII = "".join(char for char in string.printable if char.isprintable()) + "\n"


class TokenizerSpec(Config):
    """A tokenizer: one token per character of `characters`, or a tokenizer that already exists.

    A model of text and pictures adds the token ``<image>``.
    """

    characters: str = PRINTABLE_ASCII
    """The alphabet: printable ASCII and newline. A character outside it is an error wherever text is encoded."""
    tokens: tuple[str, ...] = ()
    """Texts that are one token each beside the characters, such as ``<think>`` or ``<|user|>``."""
    chat_template: str | None = None
    """Jinja template that renders chat messages; default: that of `path`, or none."""
    path: str | None = None
    """A `tokenizer.json`, a folder or a hub name to take the tokenizer from, instead of `characters`."""
    eos_token: str = "<eos>"
    """End of sequence; for `path`, only where a bare `tokenizer.json` does not say."""
    pad_token: str = "<pad>"
    """Padding; likewise."""

    def content_paths(self) -> Sequence[Path]:
        """Return the tokenizer's local file or folder: what is in it is part of the fingerprint."""
        return (Path(self.path),) if self.path and is_local(self.path) else ()


LAB_SIZES = {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
}
"""0.8 million weights with an alphabet of a hundred characters."""


LAB_PICTURES = {
    "text_config": {"model_type": "llama", **LAB_SIZES},
    "vision_config": {
        "model_type": "clip_vision_model",
        "hidden_size": 64,
        "intermediate_size": 192,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 32,
        "patch_size": 8,
        "initializer_range": 0.2,
    },
}
"""The same decoder behind a tower of 0.1 million weights that makes 16 tokens of a picture of 32 by 32 pixels."""

PICTURES = "llava"
"""The architecture of text and pictures that can be made from scratch."""


def lab_sizes(given: dict[str, Any]) -> dict[str, Any]:
    """Return the lab's sizes of the architecture among the options that were given before."""
    return LAB_PICTURES if given.get("architecture") == PICTURES else LAB_SIZES


class ModelSpec(Config):
    """A decoder initialised from scratch: a `transformers` architecture, its sizes, and a tokenizer."""

    architecture: str = "llama"
    """The `model_type` of a causal language model that `transformers` knows, or ``llava`` for text and pictures."""
    sizes: dict[str, Any] = Field(default_factory=lab_sizes)
    """Options of that architecture's configuration class, by its own names; an unknown one is an error. Those of
    ``llava`` are in `text_config` and `vision_config`, each with its `model_type`. Default: a lab's sizes."""
    tokenizer: TokenizerSpec = TokenizerSpec()
    """Its tokenizer; the vocabulary size follows from it."""

    @model_validator(mode="after")
    def _no_vocabulary_size(self) -> ModelSpec:
        text = self.sizes.get("text_config")
        if "vocab_size" in self.sizes or (isinstance(text, dict) and "vocab_size" in text):
            raise ValueError("sizes.vocab_size follows from the tokenizer; leave it out")
        return self
