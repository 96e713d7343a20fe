"""FSDP2: weights, gradients and optimizer split over the ranks with PyTorch's `fully_shard`.

Each decoder layer is a unit that is put together while it runs; embeddings, final norm and head are the root's.
Models that are read and not trained, references and teachers, are split in the same way, without an optimizer.
On CPU `accelerate`'s own FSDP neither shards nor synchronises, so `fully_shard` is called here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, MixedPrecisionPolicy, OffloadPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from collegium.errors import PolicyError
from collegium.training.distributed import World
from collegium.training.language_model import LanguageModel
from collegium.training.layers import decoder_layers
from collegium.training.optimizer_config import OptimizerConfig
from collegium.training.strategy import OptimizerState, adamw, apply, low_precision, named_trained, trained


class SplitWeights:
    """A model whose weights are split over the ranks, in place; as it stands, for forward passes alone.

    Args:
        policy: The model.
        world: The ranks.
        precision: Of the layers, where it is not that of the weights.
        trains: Whether it is trained.
    """

    splits_weights = True

    def __init__(
        self, policy: LanguageModel, world: World, precision: torch.dtype | None = None, *, trains: bool = False
    ) -> None:
        self.policy = policy
        self.world = world
        self.trains = trains
        # What is asked of whole weights is found out while there are some.
        _ = policy.vocabulary, policy.width, policy.can_pack(2)
        waiting, policy.waiting = policy.waiting, None
        device = policy.device if waiting is None else waiting.device
        if waiting is not None:
            waiting.describe(policy.model, world)
        policy.compute_dtype = precision or policy.model.dtype
        self.root = self._shard(policy, precision, device)
        if waiting is not None:
            waiting.fill(self.root, policy.model, world, offload=self._offloads)
        policy.shards = self

    @property
    def _offloads(self) -> bool:
        return self.trains and self.world.launch.offload != "none"

    def _shard(self, policy: LanguageModel, precision: torch.dtype | None, device: torch.device) -> FSDPModule:
        mesh = init_device_mesh(device.type, (self.world.size,))
        offload = CPUOffloadPolicy(pin_memory=device.type == "cuda") if self._offloads else OffloadPolicy()
        mixed = MixedPrecisionPolicy(param_dtype=precision, reduce_dtype=torch.float32)
        for layer in decoder_layers(policy.model):
            fully_shard(layer, mesh=mesh, mp_policy=mixed, offload_policy=offload)
        again = None if self.trains else True  # without a backward pass nothing needs the ends after the forward pass
        return fully_shard(
            policy.forward_module, mesh=mesh, mp_policy=mixed, offload_policy=offload, reshard_after_forward=again
        )

    @torch.no_grad()
    def full_weights(self) -> Iterator[tuple[str, Tensor]]:
        """Yield every weight, whole, one at a time."""
        for name, weight in self.policy.model.state_dict().items():
            yield name, _whole(weight)

    @torch.no_grad()
    def trained_weights(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the trained weights, whole, one at a time."""
        yield from ((name, _whole(weight)) for name, weight in named_trained(self.policy))

    @torch.no_grad()
    def take(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Take whole weights by name, one at a time; every rank gives the same ones."""
        own = self.policy.model.state_dict()
        for name, weight in weights:
            own[name].copy_(_like(weight, own[name]))


class FullyShard(SplitWeights):
    """The strategy ``fsdp2``.

    Args:
        policy: Its weights are split in place.
        config: Of the optimizer.
        world: The ranks.
    """

    def __init__(self, policy: LanguageModel, config: OptimizerConfig, world: World) -> None:
        super().__init__(policy, world, low_precision(config), trains=True)
        self.optimizer = adamw(policy, config)
        self._check_sharded()

    def _check_sharded(self) -> None:
        """Check that every weight is split over all ranks.

        Raises:
            PolicyError: If one is not: each rank would train alone.
        """
        whole = [name for name, weight in named_trained(self.policy) if not isinstance(weight.data, DTensor)]
        if whole:
            raise PolicyError(
                f"fsdp2 left {len(whole)} weights whole, such as {whole[0]!r}", fix="use the strategy ddp or zero3"
            )

    def accumulating(self, *, last: bool) -> AbstractContextManager[Any]:
        """Do nothing: ranks add up after every micro-batch."""
        return nullcontext()

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Add a micro-batch's gradient; FSDP takes the mean over ranks, and the loss is a sum.

        Ranks add up after every micro-batch: until the last, each would have to keep the whole gradient.
        """
        (loss * self.world.size).backward()  # type: ignore[no-untyped-call]  # torch

    def update(self, lr: float, most: float) -> float:
        """Clip, update and return the gradient's norm."""
        clipped = nn.utils.clip_grad_norm_(trained(self.policy), most)
        norm = float(clipped.full_tensor() if isinstance(clipped, DTensor) else clipped)
        apply(self.optimizer, lr, norm)
        return norm

    def forget(self) -> None:
        """Forget the gradient."""
        self.optimizer.zero_grad()

    @torch.no_grad()
    def optimizer_state(self) -> OptimizerState:
        """Return the optimizer's state, whole, on the first rank; the others get nothing."""
        states: OptimizerState = {}
        for name, weight in named_trained(self.policy):
            for key, value in self.optimizer.state.get(weight, {}).items():
                whole = _whole(value)
                if self.world.is_main:
                    states.setdefault(name, {})[key] = whole.to("cpu", copy=True)
        return states

    @torch.no_grad()
    def load(self, weights: Mapping[str, Tensor], optimizer: OptimizerState) -> None:
        """Take weights and optimizer state."""
        self.take((name, weights[name]) for name in self.policy.model.state_dict() if name in weights)
        for name, weight in named_trained(self.policy):
            if name in optimizer:
                self.optimizer.state[weight] = {
                    key: value.clone() if key == "step" else _like(value, weight)
                    for key, value in optimizer[name].items()
                }


def _whole(value: Tensor) -> Tensor:
    return value.full_tensor() if isinstance(value, DTensor) else value.detach()


def _like(value: Tensor, target: Tensor) -> Tensor:
    """Return a whole tensor split as another one is."""
    if not isinstance(target, DTensor):
        return value.to(target.device, copy=True)
    device = target.device_mesh.device_type
    return distribute_tensor(value.to(device), target.device_mesh, target.placements).to(target.device)
