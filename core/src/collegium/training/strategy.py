"""How weights, gradients and the optimizer's state are spread over a stage's ranks; this module: every rank has all.

The trainer calls a strategy and knows nothing of how it does it. A strategy's states are whole tensors by the weights'
names, the same for all of them: a checkpoint written under one is read under another.

Sources: data parallelism: PyTorch's DistributedDataParallel through `accelerate`; `fully_shard.py`: PyTorch's FSDP2;
`zero.py`: ZeRO (arXiv 1910.02054) through `accelerate` and DeepSpeed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from collegium.errors import ConfigError
from collegium.training.distributed import World
from collegium.training.forward_pass import ForwardPass
from collegium.training.language_model import LanguageModel
from collegium.training.layers import compile_layers, recompute_layers
from collegium.training.optimizer_config import OptimizerConfig

OptimizerState = dict[str, dict[str, Tensor]]
"""Name of a weight to AdamW's ``exp_avg``, ``exp_avg_sq`` and ``step``."""
MOMENTS = ("exp_avg", "exp_avg_sq")


class Strategy(Protocol):
    """What the trainer asks of it. Methods that return whole tensors are collective: every rank calls them."""

    def accumulating(self, *, last: bool) -> AbstractContextManager[Any]:
        """Bracket a micro-batch's forward and backward pass; the ranks add up by the end of the step's `last` one."""

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Add a micro-batch's gradient."""

    def update(self, lr: float, most: float) -> float:
        """Clip the gradient to a norm of at most `most`, update the weights, and forget the gradient.

        Returns:
            The norm before clipping. If it is not finite the weights are as they were, where the strategy can tell in
            time.
        """

    def forget(self) -> None:
        """Forget the gradient."""

    def optimizer_state(self) -> OptimizerState:
        """Return the optimizer's state, whole, in main memory; the first rank writes it."""

    def load(self, weights: Mapping[str, Tensor], optimizer: OptimizerState) -> None:
        """Take weights and optimizer state as `LanguageModel.checkpoint` and `optimizer_state` gave them."""


class Replicated:
    """Every rank has weights, gradients and optimizer: one process, or DistributedDataParallel.

    Args:
        policy: Its forward pass is wrapped for several ranks.
        config: Of the optimizer.
        world: The ranks.
    """

    def __init__(self, policy: LanguageModel, config: OptimizerConfig, world: World) -> None:
        self.policy = policy
        self.world = world
        self.accelerator = Accelerator(cpu=policy.device.type == "cpu")
        forward = policy.forward_module
        assert isinstance(forward, ForwardPass)
        forward.precision = low_precision(config)
        policy.compute_dtype = forward.precision or policy.model.dtype
        policy.forward_module = self.accelerator.prepare_model(forward)
        self.optimizer = adamw(policy, config)

    def accumulating(self, *, last: bool) -> AbstractContextManager[Any]:
        """Keep the ranks from adding up before the last micro-batch; what decides is the mode of the forward pass."""
        if last or self.world.size == 1:
            return nullcontext()
        held: AbstractContextManager[Any] = self.accelerator.no_sync(self.policy.forward_module)
        return held

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Add a micro-batch's gradient."""
        (loss * self.world.size).backward()  # type: ignore[no-untyped-call]  # torch

    def update(self, lr: float, most: float) -> float:
        """Clip, update and return the gradient's norm."""
        norm = float(nn.utils.clip_grad_norm_(trained(self.policy), most))
        apply(self.optimizer, lr, norm)
        return norm

    def forget(self) -> None:
        """Forget the gradient."""
        self.optimizer.zero_grad()

    def optimizer_state(self) -> OptimizerState:
        """Return the optimizer's state."""
        return {
            name: {key: value.to("cpu", copy=True) for key, value in self.optimizer.state[weight].items()}
            for name, weight in named_trained(self.policy)
            if weight in self.optimizer.state
        }

    @torch.no_grad()
    def load(self, weights: Mapping[str, Tensor], optimizer: OptimizerState) -> None:
        """Take weights and optimizer state."""
        for name, weight in self.policy.model.state_dict().items():
            if name in weights:
                weight.copy_(weights[name])
        for name, weight in named_trained(self.policy):
            if name in optimizer:
                self.optimizer.state[weight] = {
                    key: value.clone() if key == "step" else value.to(weight.device, copy=True)
                    for key, value in optimizer[name].items()
                }


def make_strategy(policy: LanguageModel, config: OptimizerConfig, world: World) -> Strategy:
    """Return the strategy that the stage's launch configuration names.

    Raises:
        ConfigError: If the options cannot be launched so.
    """
    name = world.launch.strategy
    if problem := config.launch_problem(world.launch):
        raise ConfigError(problem, fix="change the stage's launch")
    if name != "fsdp2" or config.adapter is not None:
        policy.make_whole()
    if config.adapter is not None:
        from collegium.training.adapter import Adapter

        policy.adapter = Adapter(policy, config.adapter, low_precision(config))
    if world.launch.compile:
        compile_layers(policy.model)
    if world.launch.gradient_checkpointing:
        recompute_layers(policy.model)
    if name in ("single", "ddp"):
        return Replicated(policy, config, world)
    if name == "fsdp2":
        from collegium.training.fully_shard import FullyShard

        return FullyShard(policy, config, world)
    from collegium.training.zero import Zero

    return Zero(policy, config, world)


def apply(optimizer: torch.optim.Optimizer, lr: float, norm: float) -> None:
    """Update the weights if the gradient's norm is finite, and forget the gradient."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    if math.isfinite(norm):
        optimizer.step()
    optimizer.zero_grad()


def low_precision(config: OptimizerConfig) -> torch.dtype | None:
    """Return the precision of the layers, None for that of the weights."""
    return torch.bfloat16 if config.precision == "bfloat16" else None


def adamw(policy: LanguageModel, config: OptimizerConfig) -> torch.optim.AdamW:
    """Return AdamW over the trained weights."""
    return torch.optim.AdamW(trained(policy), lr=config.lr, betas=config.betas, weight_decay=config.weight_decay)


def trained(policy: LanguageModel) -> list[nn.Parameter]:
    """Return the weights that are trained."""
    return [weight for _, weight in named_trained(policy)]


def named_trained(policy: LanguageModel) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield the weights that are trained by name; one that is tied to another comes once."""
    yield from ((name, weight) for name, weight in policy.model.named_parameters() if weight.requires_grad)
