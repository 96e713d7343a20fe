"""Weights that wait in the first rank's main memory until they are split over the ranks.

The first rank alone loads a model; every rank has the same modules without weights, on torch's device ``meta``, which
`fully_shard` cuts. Then the weights go out in blocks: no device ever holds more than its share and one block, and no
other rank's main memory holds any. A model that nothing splits is loaded whole on each rank, when it is first used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from accelerate import init_empty_weights
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from transformers import GenerationConfig, PreTrainedModel

from collegium.errors import PolicyError
from collegium.training.distributed import World, world

BLOCK = 2**30
"""Bytes that lie on the first rank's device at once on their way to the others."""


class Waiting:
    """The weights of a model that is to be split.

    Args:
        make: Makes the whole model in main memory, in evaluation mode; each rank's has the same weights.
        device: Where its weights, or a rank's share of them, are to be.
    """

    def __init__(self, make: Callable[[], PreTrainedModel], device: str | torch.device) -> None:
        self.device = torch.device(device)
        self._make = make
        self.source = make() if world().is_main else None
        """The whole model, on the first rank."""

    def whole(self) -> PreTrainedModel:
        """Return the whole model, in main memory; no other rank has to take part."""
        return self._make() if self.source is None else self.source

    def describe(self, model: PreTrainedModel, here: World) -> None:
        """Give a model without weights the precisions, frozen weights and buffers of the source; every rank must.

        Raises:
            PolicyError: If it has other weights than the source.
        """
        story = here.from_main(None if self.source is None else _Story.of(self.source))
        assert story is not None  # the first rank's
        own = dict(model.named_parameters())
        shapes = {name: weight.shape for name, weight in own.items()}
        if shapes != story.shapes or dict(model.named_buffers()).keys() != story.buffers.keys():
            differing = sorted(set(shapes.items()) ^ set(story.shapes.items()))
            raise PolicyError(
                f"{type(model).__name__} without weights is not built as the loaded one: {differing[:3] or 'buffers'}",
                fix="use the strategy ddp or zero3, which load it whole on every rank",
            )
        for name, weight in own.items():
            weight.data = weight.data.to(story.dtypes[name])
            weight.requires_grad &= name not in story.frozen
        for name, buffer in story.buffers.items():
            module, _, key = name.rpartition(".")
            setattr(model.get_submodule(module), key, buffer.to(self.device))
        for name, value in story.attributes.items():
            setattr(model, name, value)

    @torch.no_grad()
    def fill(self, root: Any, model: PreTrainedModel, here: World, *, offload: bool) -> None:
        """Give each rank its shares of the weights, after `fully_shard` has cut the model; every rank must."""
        place = torch.device("cpu") if offload else self.device
        root._apply(lambda tensor: torch.empty_like(tensor, device=place) if tensor.is_meta else tensor)
        weights: Mapping[str, Tensor] = {} if self.source is None else dict(self.source.named_parameters())
        for name, share in model.named_parameters():
            if not isinstance(share, DTensor):
                raise PolicyError(f"fsdp2 left the weight {name!r} whole", fix="use the strategy ddp or zero3")
            scatter(weights.get(name), share, here)


@dataclass(frozen=True, slots=True)
class _Story:
    """What the first rank tells the others of a model: all but its weights."""

    shapes: dict[str, torch.Size]
    dtypes: dict[str, torch.dtype]
    frozen: frozenset[str]
    buffers: dict[str, Tensor]
    attributes: dict[str, Any]

    @classmethod
    def of(cls, model: PreTrainedModel) -> _Story:
        weights = dict(model.named_parameters())
        return cls(
            shapes={name: weight.shape for name, weight in weights.items()},
            dtypes={name: weight.dtype for name, weight in weights.items()},
            frozen=frozenset(name for name, weight in weights.items() if not weight.requires_grad),
            buffers={name: buffer.detach().cpu() for name, buffer in model.named_buffers()},
            # How the checkpoint's weights were renamed: saving it, and engines, turn that round.
            attributes={name: getattr(model, name) for name in ("_weight_conversions",) if hasattr(model, name)},
        )


def bare(build: Callable[[], PreTrainedModel]) -> PreTrainedModel:
    """Build a model without weights, in evaluation mode; its buffers are real."""
    with _unfilled(), init_empty_weights(include_buffers=False):
        model = build()
    model.tie_weights()  # each registration made a weight of its own
    model.train(False)
    return model


@contextmanager
def _unfilled() -> Iterator[None]:
    """Keep torch from filling the memory of weights that are dropped at once: it is then never really taken."""
    settings: Any = torch.utils.deterministic
    before = settings.fill_uninitialized_memory
    settings.fill_uninitialized_memory = False
    try:
        yield
    finally:
        settings.fill_uninitialized_memory = before


def generation_config_of(path: str) -> GenerationConfig:
    """Return what `from_pretrained` gives a model of a folder or hub name as its generation config."""
    try:
        return GenerationConfig.from_pretrained(path)
    except OSError:  # there is no such file: what the model's own says
        return GenerationConfig.from_pretrained(path, config_file_name="config.json", _from_model_config=True)


def adopt(model: PreTrainedModel, source: PreTrainedModel) -> None:
    """Give a model without weights those of another one, tied ones tied; what it has frozen stays so."""
    frozen = {name for name, weight in model.named_parameters() if not weight.requires_grad}
    for name, module in source.named_modules():
        own = model.get_submodule(name)
        own._parameters.update(module._parameters)
        own._buffers.update(module._buffers)
    for name, weight in model.named_parameters():
        weight.requires_grad &= name not in frozen


def scatter(whole: Tensor | None, share: DTensor, here: World) -> None:
    """Copy each rank's rows of a weight to its share, block by block.

    Args:
        whole: The weight, on the first rank, in the share's precision.
        share: Cut along its rows, as `fully_shard` does: all ranks have as many, but for the last ones.
        here: The ranks.
    """
    device, size, width = share.device_mesh.device_type, here.size, share.element_size()
    most = -(-share.shape[0] // size) * share.shape[1:].numel()
    block = max(1, BLOCK // ((size + 1) * width))
    own, flat = share.to_local().view(-1), None if whole is None else whole.detach().reshape(-1)
    for start in range(0, most, block):
        count = min(block, most - start)
        got = torch.empty(count * width, dtype=torch.uint8, device=device)  # bytes, whatever the backend's precisions
        parts = None if flat is None else [_cut(flat, rank * most + start, count, device) for rank in range(size)]
        dist.scatter(got, parts, src=0, group=here.group)
        target = own[start : start + count]
        target.copy_(got.view(share.dtype)[: len(target)])


def _cut(flat: Tensor, start: int, count: int, device: str) -> Tensor:
    """Return the bytes of some of a weight's numbers, on a device, with zeros after the last."""
    piece = flat[start : start + count]
    padded = piece if len(piece) == count else nn.functional.pad(piece, (0, count - len(piece)))
    return padded.contiguous().view(torch.uint8).to(device)
