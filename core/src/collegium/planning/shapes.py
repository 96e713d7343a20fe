"""Find the sizes of a stage's model without loading it: from a recipe's `shape`, a model spec, or a local folder."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from collegium.model_files import is_local, safetensors_headers
from collegium.recipe.shape import ModelShape
from collegium.training.model_spec import ModelSpec, TokenizerSpec

if TYPE_CHECKING:
    from collegium.planning.plan import Plan

NAMES = {
    "layers": "num_hidden_layers",
    "hidden": "hidden_size",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "intermediate": "intermediate_size",
    "vocabulary": "vocab_size",
    "context": "max_position_embeddings",
    "tied": "tie_word_embeddings",
}
"""A shape's sizes by the names that `transformers` gives them."""
NEEDED = ("layers", "hidden", "heads", "intermediate", "vocabulary")
DENSE: Mapping[str, Mapping[str, Any]] = {
    "llama": {},
    "mistral": {"kv_heads": 8},
    "qwen2": {"kv_heads": 32, "qkv_bias": True},
    "qwen3": {"kv_heads": 32, "head_dim": 128, "qk_norm": True},
}
"""Architectures whose weights are counted exactly, with what their configurations leave out or do not name."""
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")
"""How configurations name the number of experts."""
DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}


@dataclass(frozen=True, slots=True)
class Unknown:
    """Something that cannot be known while planning.

    Args:
        reason: Why, and what would tell.
    """

    reason: str


class Shapes:
    """The shapes of a plan's models.

    Args:
        plan: Its stages are followed back along `init_from` to where their weights come from.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def of(self, source: str) -> ModelShape | Unknown:
        """Return the shape of a stage's model or of one of the recipe's `models`."""
        if source in self.plan.recipe.models:
            return self._of_model(source)
        stage = self.plan.stages[source]
        start = next((found[0] for edge in ("init_from", "average_of") if (found := stage.node.inputs.get(edge))), None)
        if start is not None:
            shape = self.of(start)
            # A stage leaves its model in the precision of its weights.
            return shape if isinstance(shape, Unknown) else shape.model_copy(update={"dtype": "float32"})
        spec = getattr(stage.config, "model", None)
        if isinstance(spec, ModelSpec):
            return shape_of_spec(spec)
        return Unknown(f"{stage.entry.id} does not say what model it works on")

    def _of_model(self, name: str) -> ModelShape | Unknown:
        model = self.plan.recipe.models[name]
        return model.shape or self.of_path(model.path, name)

    def of_path(self, path: str, name: str = "NAME") -> ModelShape | Unknown:
        """Return the shape of a folder or hub name: read there, or as one of the recipe's `models` gives it."""
        given = (model.shape for model in self.plan.recipe.models.values() if model.path == path and model.shape)
        if (shape := next(given, None)) is not None:
            return shape
        if is_local(path):
            return shape_of_folder(Path(path))
        return Unknown(f"{path!r} is a hub name: give models.{name}.shape")


def shape_of_spec(spec: ModelSpec) -> ModelShape | Unknown:
    """Return the shape of a model that is to be initialised; of one that reads pictures, that of its text part."""
    vocabulary = vocabulary_of(spec.tokenizer)
    if isinstance(vocabulary, Unknown):
        return vocabulary
    text = spec.sizes.get("text_config", {"model_type": spec.architecture, **spec.sizes})
    sizes = {**text, "vocab_size": vocabulary}
    shape = shape_of_config(sizes, "model.sizes")
    return shape if isinstance(shape, Unknown) else shape.model_copy(update={"dtype": "float32"})


def shape_of_folder(folder: Path) -> ModelShape | Unknown:
    """Return the shape of a saved model; its weights are counted in the headers of its safetensors files."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return Unknown(f"{str(folder / 'config.json')!r} cannot be read: {type(error).__name__}")
    tensors = [entry for header in safetensors_headers(folder) for entry in header.values()]
    counted = sum(math.prod(entry["shape"]) for entry in tensors) or None
    shape = shape_of_config(config, str(folder / "config.json"), counted)
    if isinstance(shape, Unknown):
        return shape
    dtype = DTYPES.get(tensors[0]["dtype"]) if tensors else None
    return shape.model_copy(update={"dtype": dtype or shape.dtype})


def shape_of_config(config: Mapping[str, Any], where: str, parameters: int | None = None) -> ModelShape | Unknown:
    """Return the shape that a configuration of `transformers` describes.

    Args:
        config: Its options, `model_type` among them.
        where: Where they come from, for the reason.
        parameters: All weights, where they were counted.
    """
    architecture = str(config.get("model_type"))
    sizes = {**DENSE.get(architecture, {}), **{ours: config[name] for ours, name in NAMES.items() if name in config}}
    missing = [NAMES[name] for name in NEEDED if sizes.get(name) is None]
    if missing:
        return Unknown(f"{where} does not say {', '.join(missing)}")
    if architecture not in DENSE and parameters is None:
        return Unknown(f"the weights of a {architecture!r} are not counted: give models.NAME.shape with `parameters`")
    sizes |= _experts(config)
    try:
        shape = ModelShape.model_validate({key: value for key, value in sizes.items() if value is not None})
    except ValidationError as error:
        return Unknown(f"{where}: {error.errors()[0]['msg']}")
    counted = parameters or shape.count + _biases(config, shape)
    return shape.model_copy(update={"parameters": counted, "active_parameters": _active(config, shape, counted)})


def _experts(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sizes of a mixture of experts; nothing for a dense model."""
    experts = next((config[name] for name in EXPERTS if config.get(name)), 1)
    width = config.get("moe_intermediate_size")
    return {} if experts == 1 else {"experts": experts, **({"intermediate": width} if width else {})}


def _active(config: Mapping[str, Any], shape: ModelShape, counted: int) -> int | None:
    """Count the weights that a token meets: all but those of the experts that it is not sent to."""
    met = config.get("num_experts_per_tok")
    if shape.experts == 1 or met is None:
        return None
    return counted - shape.layers * (shape.experts - int(met)) * 3 * shape.hidden * shape.intermediate


def _biases(config: Mapping[str, Any], shape: ModelShape) -> int:
    """Count the biases that Llama-like configurations can switch on."""
    attention = shape.query_width + 2 * shape.kv_width + shape.hidden if config.get("attention_bias") else 0
    mlp = 2 * shape.intermediate + shape.hidden if config.get("mlp_bias") else 0
    return shape.layers * (attention + mlp)


def vocabulary_of(spec: TokenizerSpec) -> int | Unknown:
    """Return the size of a tokenizer's vocabulary."""
    special = {spec.eos_token, spec.pad_token}
    if spec.path is None:
        return len({*spec.characters, *spec.tokens, *special})
    path = Path(spec.path)
    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file():
        return Unknown(f"the vocabulary of the tokenizer {spec.path!r} is not here to be counted")
    try:
        names = set(_tokens(json.loads(file.read_text(encoding="utf-8"))))
    except (ValueError, KeyError, TypeError) as error:
        return Unknown(f"{str(file)!r} cannot be read as a tokenizer: {type(error).__name__}")
    return len({*names, *spec.tokens, *(() if path.is_dir() else special)})


def _tokens(tokenizer: Mapping[str, Any]) -> Iterator[str]:
    vocabulary = tokenizer["model"]["vocab"]  # a mapping, or pairs of token and score
    yield from (entry if isinstance(entry, str) else entry[0] for entry in vocabulary)
    yield from (added["content"] for added in tokenizer.get("added_tokens") or ())
