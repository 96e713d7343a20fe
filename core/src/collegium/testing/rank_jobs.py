"""Run several toy jobs one after another on the same ranks, watch what they compute in, and let one of them fail.

Starting ranks takes most of a small job's time, so a test of strategies starts them once. The jobs' launch may differ
in everything but the number of ranks.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from accelerate.state import AcceleratorState
from torch import Tensor, nn

from collegium.job import StageEvent, StageJob, StageOutcome
from collegium.ranks import Listener, run_as_rank, run_ranks
from collegium.testing.stages import toy_registry
from collegium.training import distributed, execute, trainer
from collegium.training.language_model import LanguageModel
from collegium.training.layers import decoder_layers
from collegium.training.optimizer_config import OptimizerConfig
from collegium.training.strategy import Strategy, make_strategy
from collegium.training.trainer import LossOf, Trainer
from collegium.worker import die_with_parent

JOBS, SEEN, ENDED = "jobs.json", "seen.json", "outcome.json"


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that happens to one rank in the middle of a step.

    Args:
        rank: Which rank.
        step: Optimizer step, from 1.
        kind: ``raise``: its loss raises; ``kill``: it is killed (SIGKILL).
    """

    rank: int
    step: int
    kind: Literal["raise", "kill"]


def run_jobs_on_ranks(jobs: Sequence[StageJob], fault: Fault | None = None) -> StageOutcome:
    """Run the jobs in turn on the ranks of the first one's launch; return the last outcome, or the first failed one.

    Each job's folder then has `SEEN`: what the first rank's first linear layer was called with.
    """
    folder = Path(jobs[0].directory)
    folder.mkdir(parents=True, exist_ok=True)
    happens = None if fault is None else [fault.rank, fault.step, fault.kind]
    listed = {"jobs": [job.model_dump(mode="json") for job in jobs], "fault": happens}
    (folder / JOBS).write_text(json.dumps(listed))
    events: list[StageEvent] = []
    return run_ranks(jobs[0], events.append, __name__)


def seen_by(job: StageJob) -> dict[str, Any]:
    """Return what was seen of a job: ``dtype`` of the layer's outputs, ``calls`` of it, ``weights`` that it keeps."""
    return dict(json.loads((Path(job.directory) / SEEN).read_text()))


class _Watch:
    """Looks at a decoder layer's first linear layer while a strategy trains it."""

    def __init__(self, make: Callable[..., Strategy]) -> None:
        self.make = make
        self.seen: dict[str, Any] = {}

    def __call__(self, policy: LanguageModel, config: OptimizerConfig, world: distributed.World) -> Strategy:
        strategy = self.make(policy, config, world)
        layer = next(module for module in decoder_layers(policy.model)[0].modules() if type(module) is nn.Linear)
        self.seen = {"calls": 0, "weights": sum(_kept(weight) for weight in policy.parameters())}
        layer.register_forward_hook(self._note)
        return strategy

    def _note(self, module: nn.Module, inputs: object, output: Tensor) -> None:
        self.seen["calls"] += 1
        self.seen["dtype"] = str(output.dtype)


def _kept(weight: Tensor) -> int:
    """Return how many numbers of a weight this rank keeps."""
    if hasattr(weight, "ds_tensor"):
        return int(weight.ds_tensor.numel())
    return int((weight.to_local() if hasattr(weight, "to_local") else weight).numel())


def _run_all(job: StageJob, listener: Listener) -> StageOutcome:
    listed = json.loads((Path(job.directory) / JOBS).read_text())
    world = distributed.start_world(job.launch)
    watch = _Watch(make_strategy)
    for module, name, own in (
        (execute, "start_world", lambda _: distributed.world()),
        (execute, "end_world", lambda: None),
        (trainer, "make_strategy", watch),
    ):
        setattr(module, name, own)  # this process runs nothing else
    if listed["fault"]:
        _prepare(Fault(*listed["fault"]), world.rank)
    outcome = StageOutcome(stage=job.id, status="failed", seconds=0, problem="no jobs")
    for body in listed["jobs"]:
        each = StageJob.model_validate(body)
        distributed._world = replace(world, launch=each.launch)
        AcceleratorState._reset_state(reset_partial_state=True)
        gc.collect()  # the engine of the job before
        outcome = execute.run_job(each, toy_registry(), listener)
        if world.is_main:
            (Path(each.directory) / ENDED).write_text(outcome.model_dump_json())
            (Path(each.directory) / SEEN).write_text(json.dumps(watch.seen))
        if outcome.status == "failed":
            return outcome
    return outcome


def _prepare(fault: Fault, rank: int) -> None:
    """Let the fault happen in a loss of its rank's step."""
    step = Trainer.step

    def fail() -> Tensor:
        if fault.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise RuntimeError(f"rank {rank} fails in step {fault.step}")

    def faulty(self: Trainer, losses: Sequence[LossOf | None], task_ids: Sequence[str] = ()) -> dict[str, float]:
        due = rank == fault.rank and self.steps + 1 == fault.step
        return step(self, [fail for _ in losses] if due else losses, task_ids)

    Trainer.step = faulty  # type: ignore[method-assign]  # this process runs nothing else


if __name__ == "__main__":
    die_with_parent()
    run_as_rank(Path(sys.argv[1]), _run_all)
