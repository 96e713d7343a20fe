"""The trainer: backward over micro-batches, clipping, AdamW and its schedule, on `accelerate`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from collegium.errors import PolicyError
from collegium.training.language_model import LanguageModel
from collegium.training.optimizer_config import OptimizerConfig


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

    Args:
        policy: The model; its forward pass is wrapped for the distributed run.
        config: Optimizer and schedule.
        total_steps: Optimizer steps of the whole stage, for the schedule.
    """

    def __init__(self, policy: LanguageModel, config: OptimizerConfig, total_steps: int) -> None:
        self.policy = policy
        self.config = config
        self.accelerator = Accelerator(cpu=policy.device.type == "cpu")
        optimizer = torch.optim.AdamW(
            policy.parameters(), lr=config.lr, betas=config.betas, weight_decay=config.weight_decay
        )
        policy.forward_module = self.accelerator.prepare_model(policy.forward_module)
        self.optimizer = self.accelerator.prepare_optimizer(optimizer)
        self.factor = schedule(config, total_steps)
        self.steps = 0

    def step(self, losses: Sequence[Callable[[], Tensor]], task_ids: Sequence[str] = ()) -> dict[str, float]:
        """Add up the gradients of the losses, clip, and update.

        Args:
            losses: One function per micro-batch that runs the forward pass and returns its share of the batch's loss.
            task_ids: The batch's tasks, for the report when something is not finite.

        Returns:
            Metrics ``loss``, ``grad_norm`` (before clipping) and ``lr``.

        Raises:
            NotFinite: If the loss or the gradient is not finite; the weights are as before.
        """
        total = 0.0
        for index, loss_of in enumerate(losses):
            synchronise = index == len(losses) - 1
            with nullcontext() if synchronise else self.accelerator.no_sync(self.policy.forward_module):
                loss = loss_of()
                total += self._finite("loss", loss.detach(), task_ids)
                if loss.requires_grad:
                    self.accelerator.backward(loss)
        norm = self.accelerator.clip_grad_norm_(self.policy.parameters(), self.config.max_grad_norm)
        grad_norm = self._finite("gradient norm", torch.as_tensor(norm), task_ids)
        lr = self.config.lr * self.factor(self.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.steps += 1
        return {"loss": total, "grad_norm": grad_norm, "lr": lr}

    def _finite(self, what: str, value: Tensor, task_ids: Sequence[str]) -> float:
        number = float(value)
        if not math.isfinite(number):
            self.optimizer.zero_grad()
            raise NotFinite(f"the {what} is {number}", task_ids)
        return number

    def state_dict(self) -> dict[str, Any]:
        """Return weights, optimizer and the schedule's position."""
        return {
            "model": self.policy.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "steps": self.steps,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.policy.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
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
