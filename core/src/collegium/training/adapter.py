"""LoRA through peft: an adapter beside the decoder's linear layers, and the plain weights that it amounts to.

The layers are replaced in place, so that the model stays what it was to everything else. Sources: LoRA (arXiv
2106.09685), QLoRA (arXiv 2305.14314).

Shapes: ``O`` outputs and ``I`` inputs of a linear layer, ``R`` the rank.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import peft
import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from collegium.errors import ConfigError
from collegium.training.layers import decoder_layers
from collegium.training.lora_config import LoraConfig

if TYPE_CHECKING:
    from collegium.training.language_model import LanguageModel

NAME = "default"
"""What peft calls an adapter that has no name of its own."""
INNER = ".base_layer"
"""Where peft puts the layer that an adapter is beside."""


class Adapter:
    """LoRA in a policy, whose other weights are frozen; a reward model's head is trained too, for it is new.

    Args:
        policy: Its model is changed in place.
        config: Rank, scale, dropout, targets and the frozen layers' precision.
        compute_dtype: What quantised layers compute in; default: the precision of their inputs.

    Raises:
        ConfigError: If a target is no linear layer of the decoder.
    """

    def __init__(self, policy: LanguageModel, config: LoraConfig, compute_dtype: torch.dtype | None = None) -> None:
        model = policy.model
        linear = linear_layers(model)
        targets = chosen(linear, config.targets)
        self.scale = config.alpha / config.rank
        self.quantised = quantise(model, linear, compute_dtype) if config.quantise == "nf4" else {}
        self.transposed = {name for name in targets if isinstance(linear[name], Conv1D)}
        inject(model, config, targets, transposed=bool(self.transposed))
        if model.get_output_embeddings() is None:  # type: ignore[no-untyped-call]  # transformers
            policy.head.requires_grad = True

    def merged(self, weights: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
        """Turn the weights as training has them into those of the plain model, by their Hugging Face names.

        Args:
            weights: By name in the model; a layer's own weight comes before its adapter's ``A``, and that before ``B``.
        """
        waiting: dict[str, list[Tensor]] = {}
        for name, weight in weights:
            layer, part = layer_and_part(name)
            if part.startswith("weight.") and layer in self.quantised:
                continue  # the constants of its quantisation
            if part == "weight" and layer in self.quantised:
                weight = dequantised(self.quantised[layer])
            if part == "weight" and f"{layer}{INNER}.weight" == name:
                waiting[layer] = [weight]
            elif part == f"lora_A.{NAME}.weight":
                waiting[layer].append(weight)
            elif part == f"lora_B.{NAME}.weight":
                base, down = waiting.pop(layer)
                yield f"{layer}.weight", self._sum(layer, base, down, weight)
            else:
                yield self.plain_name(name), weight

    @staticmethod
    def plain_name(name: str) -> str:
        """Return the name that a weight as training has it bears in the plain model."""
        layer, part = layer_and_part(name)
        return f"{layer}.{part}" if layer else part

    def _sum(self, layer: str, base: Tensor, down: Tensor, up: Tensor) -> Tensor:
        """Add ``B [O, R] @ A [R, I]`` to a weight, ``[O, I]`` or, in GPT-2's layers, ``[I, O]``."""
        product = self.scale * (up.float() @ down.float())
        return (base.float() + (product.T if layer in self.transposed else product)).to(base.dtype)


def linear_layers(model: PreTrainedModel) -> dict[str, nn.Module]:
    """Return the linear layers of the decoder's layers by name."""
    inside = {id(module) for layer in decoder_layers(model) for module in layer.modules()}
    return {
        name: module
        for name, module in model.named_modules()
        if id(module) in inside and isinstance(module, nn.Linear | Conv1D)
    }


def chosen(linear: dict[str, nn.Module], targets: tuple[str, ...]) -> list[str]:
    """Return the names of the layers that get an adapter.

    Raises:
        ConfigError: If there is none of a target's name.
    """
    known = sorted({name.rpartition(".")[2] for name in linear})
    unknown = sorted(set(targets) - set(known))
    if unknown or not linear:
        raise ConfigError(
            f"adapter.targets {', '.join(unknown) or '(all)'}: the decoder has no such linear layer",
            fix=f"choose among {', '.join(known)}" if known else "train the whole model: leave adapter out",
        )
    return [name for name in linear if not targets or name.rpartition(".")[2] in targets]


def inject(model: PreTrainedModel, config: LoraConfig, targets: list[str], *, transposed: bool) -> None:
    """Put adapters beside layers and freeze everything else; every rank comes to the same ``A``, and ``B`` is 0."""
    options = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,  # peft computes with it as with any number
        lora_dropout=config.dropout,
        target_modules=targets,
        fan_in_fan_out=transposed,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch.initial_seed())  # the stage's: what was drawn since may differ between ranks
        peft.inject_adapter_in_model(options, model)
    model.train(model.training)  # new modules start in training mode, whatever the model's is
    found = {name for name, module in model.named_modules() if isinstance(module, LoraLayer)}
    if found != set(targets):
        raise ConfigError(f"peft put an adapter beside {sorted(found)}, expected {sorted(targets)}", fix="report it")


def layer_and_part(name: str) -> tuple[str, str]:
    """Split a weight's name into its layer's name in the plain model and what it is there.

    ``q.base_layer.weight`` is ``("q", "weight")``, ``q.lora_A.default.weight`` is ``("q", "lora_A.default.weight")``.
    """
    for mark in (f"{INNER}.", ".lora_A.", ".lora_B."):
        layer, found, part = name.partition(mark)
        if found:
            return layer, part if mark == f"{INNER}." else mark[1:] + part
    layer, found, part = name.partition(".weight.")
    if found:
        return layer, f"weight.{part}"
    layer, _, part = name.rpartition(".")
    return layer, part


def quantise(model: PreTrainedModel, linear: dict[str, nn.Module], compute_dtype: torch.dtype | None) -> dict[str, Any]:
    """Replace linear layers by four-bit ones, which compute in a precision, and return these.

    Raises:
        ConfigError: If one is of a kind that bitsandbytes has no four-bit form of.
    """
    from bitsandbytes.nn import Linear4bit, Params4bit

    made: dict[str, Any] = {}
    for name, layer in linear.items():
        if not isinstance(layer, nn.Linear):
            raise ConfigError(f"{name} is a {type(layer).__name__}: no nf4", fix="use adapter.quantise: none")
        sizes = layer.in_features, layer.out_features
        small = Linear4bit(*sizes, bias=False, compute_dtype=compute_dtype, quant_type="nf4", device="meta")
        small.weight = Params4bit(layer.weight.data, requires_grad=False, quant_type="nf4", module=small)
        small.bias = layer.bias
        made[name] = small.to(layer.weight.device)  # which makes the four bits
        _stay_in_training_mode(made[name])
        parent, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(parent), attribute, made[name])
    return made


def _stay_in_training_mode(layer: nn.Module) -> None:
    """Keep a four-bit layer from the kernel for evaluation, which rounds otherwise than the backward pass expects.

    Such a layer has no dropout, nor anything else that the mode is for.
    """
    layer.train()
    layer.train = lambda *_: layer  # type: ignore[method-assign]


def dequantised(layer: Any) -> Tensor:
    """Return a four-bit layer's weight, ``[O, I]``, as the forward pass computes with it."""
    from bitsandbytes.functional import dequantize_4bit

    weight: Tensor = dequantize_4bit(layer.weight.data, layer.weight.quant_state)
    return weight
