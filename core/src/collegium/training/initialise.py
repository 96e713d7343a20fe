"""A model from scratch: a `transformers` architecture by its name, sizes, and a tokenizer."""

from __future__ import annotations

import difflib
import inspect
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig

from collegium.errors import ConfigError
from collegium.training.language_model import LanguageModel
from collegium.training.model_spec import ModelSpec
from collegium.training.tokenizers import build_tokenizer, end_of_sequence, padding


def initialise(spec: ModelSpec, seed: int) -> LanguageModel:
    """Build a model with random weights; the same spec and seed give the same weights.

    Raises:
        ConfigError: If the architecture or one of its sizes is unknown.
        DataError: If the tokenizer cannot be built.
    """
    tokenizer = build_tokenizer(spec.tokenizer)
    special = {"eos_token_id": end_of_sequence(tokenizer), "pad_token_id": padding(tokenizer)}
    config = _configure(spec, vocab_size=len(tokenizer), bos_token_id=tokenizer.bos_token_id, **special)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]  # transformers
    built = LanguageModel(model.eval(), tokenizer)
    built.check_head()
    return built


def _configure(spec: ModelSpec, **fixed: Any) -> PretrainedConfig:
    try:
        default = AutoConfig.for_model(spec.architecture)
    except ValueError as error:
        raise ConfigError(
            f"model.architecture {spec.architecture!r} is not a model type that transformers knows",
            fix="name one such as llama, qwen3, gpt2 or mistral",
        ) from error
    known = set(inspect.signature(type(default)).parameters) | set(default.to_dict()) | set(default.attribute_map)
    for name in spec.sizes:
        if name not in known:
            close = difflib.get_close_matches(name, sorted(known), n=1)
            raise ConfigError(
                f"model.sizes.{name} is not an option of {type(default).__name__}",
                fix=f"did you mean {close[0]!r}?" if close else f"its options: {', '.join(sorted(known))}",
            )
    return AutoConfig.for_model(spec.architecture, **spec.sizes, **fixed)
