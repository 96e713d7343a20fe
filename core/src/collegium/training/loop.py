"""The step loop: runs a stage's steps, checkpoints them, and goes on where a killed stage stopped.

A step depends on nothing but the weights, the saved states and its own number: before each one the global generators
are seeded from (seed, stage, step). So a resumed stage repeats the steps after its checkpoint exactly.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

from collegium.errors import PolicyError
from collegium.job import StageJob
from collegium.training.checkpoint import random_state, set_random_state, write_aside
from collegium.training.context import StageContext
from collegium.training.seeds import derive, seed_everything
from collegium.training.trainer import NotFinite, Trainer


class Stateful(Protocol):
    """Something whose state a checkpoint holds, as plain data or tensors."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore it."""


class StepLoop:
    """Run `total` steps of a stage.

    Args:
        context: The stage's context.
        trainer: Holds weights and optimizer.
        total: Steps of the stage.
        states: Further state by name, such as the sampler's.
    """

    def __init__(
        self, context: StageContext, trainer: Trainer, total: int, states: Mapping[str, Stateful] | None = None
    ) -> None:
        self.context = context
        self.trainer = trainer
        self.total = total
        self.states = dict(states or {})
        self._job = job_digest(context.job)
        self._saved = 0

    def run(self, step: Callable[[int], Mapping[str, float]]) -> None:
        """Run every step that is not done yet, then leave the model in the stage's output.

        Args:
            step: Takes the step's number, from 1, does the work, and returns its metrics.

        Raises:
            PolicyError: If a loss or gradient is not finite; the last good checkpoint is kept.
        """
        for number in range(self._resume() + 1, self.total + 1):
            seed_everything(derive(self.context.seed, self.context.job.id, number))
            started = time.perf_counter()
            try:
                metrics = dict(step(number))
            except NotFinite as error:
                raise self._report(number, error) from error
            metrics["time/step"] = time.perf_counter() - started
            self.context.emit(number, self.total, metrics)
            if number % self.context.job.checkpoint_every == 0 or number == self.total:
                self._save(number)
        save_model(self.context, self.trainer)

    def _save(self, number: int) -> None:
        state = self._state(number)
        if self.context.world.is_main:
            self.context.checkpoints.save(number, state)
        self.context.world.barrier()
        self._saved = number

    def _resume(self) -> int:
        """Restore the newest checkpoint and return its step; 0 without one."""
        here = self.context.world
        state = self.context.checkpoints.latest()
        if state and state["job"] != self._job:
            self.context.message("the checkpoint found here is of other options or inputs: the stage starts anew")
            here.barrier()  # every rank has read it
            if here.is_main:
                self.context.checkpoints.clear()
            state = None
        here.barrier()
        done = int(state["step"]) if state else 0
        if state:
            self._saved = done
            self.trainer.load_state_dict(state["trainer"])
            for name, holder in self.states.items():
                holder.load_state_dict(state["states"][name])
            for name, budget in self.context.budgets.items():
                budget.load_state_dict(state["budgets"][name])
            self.context.rollouts, self.context.tokens_generated = state["counters"]
            set_random_state(state["random"])
            self.context.message(f"resumes after step {done} of {self.total}")
        if here.is_main:
            self.context.journal.cut(done)
        return done

    def _state(self, number: int) -> dict[str, Any]:
        return {
            "step": number,
            "job": self._job,
            "trainer": self.trainer.state_dict(),
            "states": {name: holder.state_dict() for name, holder in self.states.items()},
            "budgets": {name: budget.state_dict() for name, budget in self.context.budgets.items()},
            "counters": [self.context.rollouts, self.context.tokens_generated],
            "random": random_state(),
        }

    def _report(self, number: int, error: NotFinite) -> PolicyError:
        """Write the batch's tasks down and say where the last good weights are."""
        path = self.context.directory / "bad_batch.json"
        path.write_text(
            json.dumps({"step": number, "problem": error.problems[0].what, "tasks": error.task_ids}, indent=1)
        )
        tasks = ", ".join(dict.fromkeys(error.task_ids[:5]))
        return PolicyError(
            f"stage {self.context.job.id!r}, step {number}: {error.problems[0].what} (tasks {tasks}, ...; all are in "
            f"{str(path)!r}); the last good checkpoint, after step {self._saved}, is kept",
            fix="lower lr or look at these tasks, then resume",
        )


def job_digest(job: StageJob) -> str:
    """Return a digest of what decides a stage's numbers; a checkpoint is only of use to a job with the same one."""
    if job.fingerprint:  # it covers all of them, and not where they lie
        return job.fingerprint
    decisive = job.model_dump_json(
        include={
            "id",
            "use",
            "options",
            "seed",
            "domains",
            "inputs",
            "teachers",
            "errors",
            "fingerprint",
        }
    )
    return hashlib.sha256(decisive.encode()).hexdigest()


def save_model(context: StageContext, trainer: Trainer) -> None:
    """Leave the policy in ``output/model``, whole or not at all."""
    policy = trainer.policy
    weights = None if policy.shards is None else policy.state_dict(everywhere=False)
    if context.world.is_main:
        write_aside(context.output / "model", partial(policy.save, weights=weights))
    context.world.barrier()
