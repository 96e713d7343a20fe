"""A model's decoder layers: found, computed again in the backward pass, compiled.

Both replace a layer's `forward`, which a distributed wrapper's hooks surround: while it runs, the layer's weights are
whole. What the model does in training mode, such as dropout, stays as the stage set it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from collegium.errors import ConfigError, PolicyError

Forward: TypeAlias = Callable[..., Any]


def decoder_layers(model: nn.Module) -> list[nn.Module]:
    """Return a model's layers: the members of its largest list of modules of one class.

    Raises:
        PolicyError: If there is no such list.
    """
    lists = [list(module) for module in model.modules() if isinstance(module, nn.ModuleList) and len(module)]
    alike = [each for each in lists if len({type(layer) for layer in each}) == 1]
    if not alike:
        raise PolicyError(f"{type(model).__name__} has no list of decoder layers", fix="use the strategy ddp or zero3")
    return max(alike, key=lambda each: sum(weight.numel() for layer in each for weight in layer.parameters()))


def recompute_layers(model: nn.Module) -> None:
    """Keep only each layer's input for the backward pass, which runs the layer again."""
    for layer in decoder_layers(model):
        layer.forward = _recomputed(layer.forward)


def _recomputed(forward: Forward) -> Forward:
    def run(*inputs: Any, **options: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*inputs, **options)
        return checkpoint(forward, *inputs, use_reentrant=False, **options)

    return run


def compile_layers(model: nn.Module) -> None:
    """Compile each layer for rows of any number and length; sampling with a cache runs as before.

    Raises:
        ConfigError: If there is no working compiler.
    """
    _check_compiler(next(model.parameters()).device)
    for layer in decoder_layers(model):
        layer.forward = _compiled(layer.forward)


def _compiled(forward: Forward) -> Forward:
    fast = torch.compile(forward, dynamic=True)

    def run(*inputs: Any, **options: Any) -> Any:
        return (fast if options.get("past_key_values") is None else forward)(*inputs, **options)

    return run


def _check_compiler(device: torch.device) -> None:
    """Compile something small."""
    try:
        torch.compile(lambda values: values + 1)(torch.ones(2, device=device))
    except Exception as error:  # whatever is missing: a C++ compiler, Triton, Python's headers
        cause = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"launch.compile needs a working compiler for {device.type}, and torch.compile failed: {cause}",
            fix="install one (CPU: g++ and Python's headers; GPU: triton), or leave launch.compile out",
        ) from error
