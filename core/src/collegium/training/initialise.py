"""A model from scratch: a `transformers` architecture by its name, sizes, and a tokenizer.

Pictures: LLaVA (arXiv 2304.08485; a tower, a projector of two layers, a decoder) behind the tower of CLIP (arXiv
2103.00020) or SigLIP (arXiv 2303.15343).
"""

from __future__ import annotations

import copy
import difflib
import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from tokenizers import AddedToken
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from collegium.errors import ConfigError
from collegium.training.distributed import world
from collegium.training.language_model import LanguageModel, model_class
from collegium.training.model_spec import PICTURES, ModelSpec
from collegium.training.tokenizers import build_tokenizer, end_of_sequence, padding
from collegium.training.vision import Vision, check_pillow, freeze_unread
from collegium.training.waiting import Waiting

IMAGE = "<image>"
"""The placeholder of a picture."""
TOWERS = {"siglip_vision_model": "full", "clip_vision_model": "default"}
"""Towers, and which of their states become tokens: all, or all but the first (CLIP's stands for the whole)."""


def initialise(spec: ModelSpec, seed: int) -> LanguageModel:
    """Build a model with random weights; the same spec and seed give the same weights.

    Raises:
        ConfigError: If the architecture or one of its sizes is unknown, or its tower's pictures cannot be made.
        DataError: If the tokenizer cannot be built.
    """
    tokenizer = build_tokenizer(spec.tokenizer)
    pictures = spec.architecture == PICTURES
    if pictures and IMAGE not in tokenizer.get_vocab():
        tokenizer.add_tokens([AddedToken(IMAGE, normalized=False)])
    special = {"eos_token_id": end_of_sequence(tokenizer), "pad_token_id": padding(tokenizer)}
    fixed = {"vocab_size": len(tokenizer), "bos_token_id": tokenizer.bos_token_id, **special}
    if pictures:
        config = _configure_pictures(spec, tokenizer, fixed)
    else:
        config = _configure(spec.architecture, spec.sizes, "model.sizes", **fixed)
    vision = Vision(_processor(config, tokenizer), config.image_token_index) if pictures else None
    if world().splits_models:
        waiting = Waiting(partial(_random, config, vision, seed), "cpu")
        build = partial(model_class(config).from_config, copy.deepcopy(config))
        return LanguageModel.split_later(waiting, build, tokenizer, vision)
    built = LanguageModel(_random(config, vision, seed), tokenizer, vision)
    built.check_head()
    return built


def _random(config: PretrainedConfig, vision: Vision | None, seed: int) -> PreTrainedModel:
    """Make the weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: PreTrainedModel = model_class(config).from_config(config)
    if vision is not None:
        freeze_unread(model, vision)
    model.train(False)
    return model


def _configure(architecture: str, sizes: Mapping[str, Any], where: str, **fixed: Any) -> PretrainedConfig:
    try:
        default = AutoConfig.for_model(architecture)
    except ValueError as error:
        raise ConfigError(
            f"{where}: the architecture {architecture!r} is not a model type that transformers knows",
            fix="name one such as llama, qwen3, gpt2 or mistral; llava for text and pictures",
        ) from error
    known = set(inspect.signature(type(default)).parameters) | set(default.to_dict()) | set(default.attribute_map)
    for name in sizes:
        if name not in known:
            close = difflib.get_close_matches(name, sorted(known), n=1)
            raise ConfigError(
                f"{where}.{name} is not an option of {type(default).__name__}",
                fix=f"did you mean {close[0]!r}?" if close else f"its options: {', '.join(sorted(known))}",
            )
    return AutoConfig.for_model(architecture, **sizes, **fixed)


def _configure_pictures(
    spec: ModelSpec, tokenizer: PreTrainedTokenizerBase, fixed: Mapping[str, Any]
) -> PretrainedConfig:
    """Configure a LLaVA: every state of its tower's last layer becomes a token."""
    parts = {name: dict(spec.sizes.get(name) or {}) for name in ("text_config", "vision_config")}
    if lacking := [name for name, part in parts.items() if "model_type" not in part]:
        raise ConfigError(
            f"model.sizes has no {' and no '.join(f'{name}.model_type' for name in lacking)}",
            fix="give text_config: {model_type: llama, ...} and vision_config: {model_type: clip_vision_model, ...}",
        )
    text = _configure(parts["text_config"].pop("model_type"), parts["text_config"], "model.sizes.text_config", **fixed)
    tower = parts["vision_config"].pop("model_type")
    if tower not in TOWERS:
        raise ConfigError(
            f"model.sizes.vision_config.model_type {tower!r} is no tower that a model from scratch can have",
            fix=f"choose among {', '.join(TOWERS)}",
        )
    vision = _configure(tower, parts["vision_config"], "model.sizes.vision_config")
    if vision.image_size % vision.patch_size:
        raise ConfigError(
            f"model.sizes.vision_config cuts {vision.image_size} pixels into patches of {vision.patch_size}",
            fix="make image_size a multiple of patch_size",
        )
    others = {name: value for name, value in spec.sizes.items() if name not in parts}
    return _configure(
        PICTURES,
        {"vision_feature_layer": -1, "vision_feature_select_strategy": TOWERS[tower], **others},
        "model.sizes",
        text_config=text,
        vision_config=vision,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        image_seq_length=(vision.image_size // vision.patch_size) ** 2,
        tie_word_embeddings=text.tie_word_embeddings,
    )


def _processor(config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase) -> Any:
    """Return the processor that goes with a LLaVA's tower: pictures scaled to its size, colours to [0, 1].

    Black is 0: against a ground of -1, where shapes stand is hardly seen at first.
    """
    check_pillow()
    from transformers import LlavaProcessor
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    size = config.vision_config.image_size
    strategy = config.vision_feature_select_strategy
    return LlavaProcessor(  # type: ignore[no-untyped-call]  # transformers
        SiglipImageProcessorPil(size={"height": size, "width": size}, image_mean=[0.0] * 3, image_std=[1.0] * 3),
        tokenizer,
        patch_size=config.vision_config.patch_size,
        vision_feature_select_strategy=strategy,
        image_token=IMAGE,
        num_additional_image_tokens=int(strategy == "default"),
    )
