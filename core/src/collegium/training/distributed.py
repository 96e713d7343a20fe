"""The ranks of a stage: which one this process is, and what they tell each other.

Every rank runs the whole stage. All of them hold the same batch of tokens, verdicts and weights of the loss;
generation, scoring and the gradients' forward passes are shared out. One process alone is a world of size 1, where
nothing of this costs anything.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from collegium.errors import PolicyError
from collegium.launch_config import LaunchConfig

T = TypeVar("T")

TIMEOUT = datetime.timedelta(hours=6)
"""How long a rank waits for the others: one of them may judge or generate meanwhile. A rank that dies ends the stage at
once, for the launcher watches them."""


@dataclass(frozen=True)
class World:
    """The ranks that run a stage.

    Args:
        rank: This process's number, from 0.
        size: How many there are.
        launch: How weights, gradients and optimizer are spread over them.
        group: The process group of its collective calls; default: the one of all ranks.
    """

    rank: int = 0
    size: int = 1
    launch: LaunchConfig = field(default_factory=LaunchConfig)
    group: Any = field(default=None, compare=False, repr=False)

    @property
    def is_main(self) -> bool:
        """Whether this rank writes files and reports."""
        return self.rank == 0

    @property
    def splits_models(self) -> bool:
        """Whether models are loaded to be split over the ranks: those of a thread of its own stay whole.

        Splitting one needs the accelerators' group, which two threads must not share.
        """
        return self.launch.strategy == "fsdp2" and self.group is None

    def barrier(self) -> None:
        """Wait until every rank is here."""
        if self.size > 1:
            dist.barrier(group=self.group)

    def gather(self, items: Sequence[T]) -> list[T]:
        """Return the items of all ranks, in the order of the ranks."""
        if self.size == 1:
            return list(items)
        parts: list[Any] = [None] * self.size
        dist.all_gather_object(parts, list(items), group=self.group)
        return [item for part in parts for item in part]

    def from_main(self, value: T) -> T:
        """Return rank 0's value on every rank."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0, group=self.group)
        return box[0]

    def total(self, value: Tensor | float) -> Tensor:
        """Return the sum over all ranks, as a float64 tensor in main memory."""
        return self.merge(torch.as_tensor(value).detach().to("cpu", torch.float64))

    def merge(self, tensor: Tensor) -> Tensor:
        """Add up a tensor in main memory over all ranks, in place; where each has rows of its own and 0 elsewhere, this
        puts the rows together.
        """
        if self.size > 1:
            dist.all_reduce(tensor, group=self.group)
        return tensor

    def most(self, value: int) -> int:
        """Return the largest value of any rank."""
        return value if self.size == 1 else max(self.gather([value]))

    def share(self, items: Sequence[T]) -> list[T]:
        """Return this rank's part of what all ranks hold: every `size`-th item."""
        return list(items[self.rank :: self.size])

    def in_step(self, items: Sequence[T]) -> list[T | None]:
        """Return the items and as many Nones as make every rank's list equally long.

        Where weights are split, every rank must run as many forward passes as the others.
        """
        return [*items, *[None] * (self.most(len(items)) - len(items))]

    def block(self, count: int) -> range:
        """Return this rank's part of `count` numbered things: one block, so that `gather` restores their order."""
        return range(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def apart(self) -> World:
        """Return the same ranks with a process group of their own; every rank must call this.

        Collective calls of two threads must not mix: the order in which they reach one group would differ by rank.
        The group works in main memory, for the same reason: two of an accelerator's would wait for each other there.
        """
        return self if self.size == 1 else replace(self, group=dist.new_group(backend="gloo", timeout=TIMEOUT))


_world = World()
_of_thread: ContextVar[World | None] = ContextVar("world", default=None)


def world() -> World:
    """Return the world of the stage that this process runs, as this thread has to use it."""
    return _of_thread.get() or _world


@contextmanager
def within(apart: World) -> Iterator[None]:
    """Let `world` return another one, in this thread: what runs here talks to the other ranks through its group."""
    token = _of_thread.set(apart)
    try:
        yield
    finally:
        _of_thread.reset(token)


def start_world(launch: LaunchConfig) -> World:
    """Join the other ranks, which a launcher such as torchrun has started, and return the world.

    Raises:
        PolicyError: If there are not as many ranks as the launch configuration says: each might believe it is alone.
    """
    global _world  # a process runs one stage at a time, and torch's process group is global as well
    if launch.strategy == "single":
        return _world
    if "RANK" not in os.environ:
        raise PolicyError(
            f"the launch strategy {launch.strategy!r} needs its {launch.ranks} ranks started, and this process is none",
            fix="start the stage through `collegium run`, which starts its ranks",
        )
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group(backend, timeout=TIMEOUT)
    _world = World(dist.get_rank(), dist.get_world_size(), launch)
    if _world.size != launch.ranks:
        raise PolicyError(
            f"{_world.size} ranks run, the recipe's launch says {launch.ranks}", fix="start as many on every machine"
        )
    return _world


def end_world() -> None:
    """Leave the other ranks."""
    global _world
    if dist.is_available() and dist.is_initialized() and _world.launch.strategy != "single":
        dist.destroy_process_group()
    _world = World()
