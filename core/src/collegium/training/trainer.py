"""The trainer: backward over micro-batches, clipping, AdamW and its schedule, over however many ranks the stage has."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from torch import Tensor

from collegium.errors import PolicyError
from collegium.training.distributed import world
from collegium.training.language_model import LanguageModel
from collegium.training.optimizer_config import OptimizerConfig
from collegium.training.strategy import make_strategy, named_trained

LossOf: TypeAlias = Callable[[], Tensor]
"""Runs a micro-batch's forward pass and returns its share of the loss."""


class NotFinite(PolicyError):
    """A loss or gradient that is not a finite number; nothing was updated.

    Args:
        what: Which quantity, and its value.
        task_ids: The tasks whose sequences the step trained on.
    """

    def __init__(self, what: str, task_ids: Sequence[str]) -> None:
        self.task_ids = list(task_ids)
        super().__init__(
            what, fix="lower lr, look at the batch in bad_batch.json, and resume from the last good checkpoint"
        )


class Trainer:
    """Update a policy. One `step` is one optimizer step, over as many micro-batches as fit.

    The stage's ranks share the micro-batches; which rank takes which makes no difference to the sum.

    Args:
        policy: The model; its forward pass is wrapped for the distributed run.
        config: Optimizer and schedule.
        total_steps: Optimizer steps of the whole stage, for the schedule.
    """

    def __init__(self, policy: LanguageModel, config: OptimizerConfig, total_steps: int) -> None:
        self.policy = policy
        self.config = config
        self.world = world()
        self.strategy = make_strategy(policy, config, self.world)
        self.factor = schedule(config, total_steps)
        self.steps = 0

    def step(self, losses: Sequence[LossOf | None], task_ids: Sequence[str] = ()) -> dict[str, float]:
        """Add up the gradients of the losses, clip, and update.

        Args:
            losses: One function per micro-batch that runs the forward pass and returns its share of the batch's loss:
                the loss is their sum over all of them. Every rank gives the whole list, and runs every `size`-th, from
                its own number on; None there is nothing to do.
            task_ids: The batch's tasks, for the report when something is not finite.

        Returns:
            Metrics ``loss``, ``grad_norm`` (before clipping) and ``lr``.

        Raises:
            NotFinite: If the loss or the gradient is not finite.
        """
        own = self.world.share(losses)
        own += [None] * (-(-len(losses) // self.world.size) - len(own))
        total = 0.0
        for index, loss_of in enumerate(own):
            last = index == len(own) - 1
            with self.strategy.accumulating(last=last):
                loss = self._loss(loss_of)
                total += self._finite("loss", float(loss.detach()), task_ids)
                if loss.requires_grad:
                    self.strategy.backward(loss, last=last)
        lr = self.config.lr * self.factor(self.steps)
        norm = self.strategy.update(lr, self.config.max_grad_norm)
        self._finite("gradient norm", norm, task_ids)
        self.steps += 1
        return {"loss": float(self.world.total(total)), "grad_norm": norm, "lr": lr}

    def _loss(self, loss_of: LossOf | None) -> Tensor:
        """Return a micro-batch's loss; with several ranks it depends on every weight, for all must add up gradients."""
        if loss_of is None:
            return self.policy.idle()
        loss = loss_of()
        return loss if loss.requires_grad or self.world.size == 1 else loss + self.policy.idle()

    def _finite(self, what: str, number: float, task_ids: Sequence[str]) -> float:
        if not math.isfinite(number):
            self.strategy.forget()
            raise NotFinite(f"the {what} is {number}", task_ids)
        return number

    def state_dict(self) -> dict[str, Any]:
        """Return trained weights, optimizer and the schedule's position; whole, so any strategy goes on from them."""
        return {
            "model": self.policy.checkpoint(),
            "optimizer": self.strategy.optimizer_state(),
            "steps": self.steps,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave.

        Raises:
            PolicyError: If it has not all weights that are trained.
        """
        missing = sorted({name for name, _ in named_trained(self.policy)} - state["model"].keys())
        if missing:
            raise PolicyError(
                f"the checkpoint lacks {len(missing)} trained weights, such as {missing[0]!r}",
                fix="delete the stage's checkpoints; it then starts anew",
            )
        self.strategy.load(state["model"], state["optimizer"])
        self.steps = int(state["steps"])


def schedule(config: OptimizerConfig, total_steps: int) -> Callable[[int], float]:
    """Return the factor on the learning rate at each step, counted from 0."""

    def factor(step: int) -> float:
        if step < config.warmup:
            return (step + 1) / (config.warmup + 1)
        done = (step - config.warmup) / max(1, total_steps - config.warmup)
        if config.schedule == "linear":
            return max(0.0, 1.0 - done)
        if config.schedule == "cosine":
            return 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))
        return 1.0

    return factor
