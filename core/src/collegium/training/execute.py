"""Run one stage job to its end: what a worker process calls."""

from __future__ import annotations

import logging
import os
import time

import torch
from transformers.utils import logging as transformers_logging

from collegium.errors import CollegiumError
from collegium.events import StageFailed, StageFinished, StageStarted
from collegium.job import StageEvent, StageJob, StageOutcome
from collegium.launch_config import LaunchConfig
from collegium.plugins.lifecycle import notify
from collegium.training.context import Components, Listener, StageContext
from collegium.training.distributed import end_world, start_world
from collegium.training.evaluate import evaluate_domains
from collegium.training.language_model import LanguageModel
from collegium.training.seeds import derive, seed_everything

logger = logging.getLogger(__name__)


def run_job(job: StageJob, registry: Components, listener: Listener) -> StageOutcome:
    """Train (unless the artifact is there already), evaluate, and return how it went; a failure is an outcome too.

    Args:
        job: What to run.
        registry: Builds components by name and has the lifecycle hooks.
        listener: Told of every event.
    """
    started = time.perf_counter()
    set_up_torch(job)
    ranks = start_world(job.launch if job.train else LaunchConfig())
    context = StageContext(job, registry, listener if ranks.is_main else _ignore)
    if not ranks.is_main:
        return _follow_main(context, started)
    try:
        notify(registry, "before_stage", StageStarted(job.id, job.use))
        scores = _train_and_evaluate(context)
    except (Exception, SystemExit) as error:  # a plugin's sys.exit is a failure, whatever its code
        logger.error("stage %s failed: %s", job.id, error, exc_info=not isinstance(error, CollegiumError))
        outcome = _failure(context, error, time.perf_counter() - started)
        notify(registry, "on_stage_error", StageFailed(job.id, job.use, outcome.problem, outcome.owner))
        return outcome
    finally:
        context.close()
    metrics = context.journal.last_metrics() | context.evaluation_metrics
    notify(registry, "after_stage", StageFinished(job.id, job.use, metrics))
    return StageOutcome(
        stage=job.id,
        status="completed",
        seconds=time.perf_counter() - started,
        metrics=metrics,
        scores=scores,
        rollouts=context.rollouts,
        tokens_generated=context.tokens_generated,
    )


def _follow_main(context: StageContext, started: float) -> StageOutcome:
    """Take part in training as one of the other ranks: no hook, no evaluation, no report."""
    job = context.job
    try:
        context.registry.build("stage", job.use, job.options).run(context)
    except (Exception, SystemExit) as error:
        logger.error("stage %s failed on rank %d: %s", job.id, context.world.rank, error, exc_info=True)
        return _failure(context, error, time.perf_counter() - started)
    finally:
        context.close()
    end_world()
    return StageOutcome(stage=job.id, status="completed", seconds=time.perf_counter() - started)


def _ignore(event: StageEvent) -> None:
    """Tell nobody."""


def set_up_torch(job: StageJob) -> None:
    """Set threads, deterministic algorithms (on a GPU: where there are some) and the global seeds."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(job.threads)
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # transformers
    seed_everything(derive(job.seed, job.id))


def _train_and_evaluate(context: StageContext) -> dict[str, float]:
    job = context.job
    if job.train:
        context.listener(StageEvent(stage=job.id, kind="started"))
        context.registry.build("stage", job.use, job.options).run(context)
        end_world()
    if not job.evaluate_on:
        return {}
    policy = LanguageModel.load(job.model or context.output / "model", context.device)
    results = evaluate_domains(policy, context.evaluation_domains, job.evaluation)
    for domain, result in results.items():
        counts = {"abstained": result.abstained, "errors": result.errors, "truncated": result.truncated}
        counts["tasks"] = result.tasks
        context.evaluation_metrics |= {f"evaluation/{name}/{domain}": float(count) for name, count in counts.items()}
    scores = {domain: result.score for domain, result in results.items()}
    context.listener(StageEvent(stage=job.id, kind="evaluated", metrics=scores))
    return scores


def _failure(context: StageContext, error: BaseException, seconds: float) -> StageOutcome:
    ours = isinstance(error, CollegiumError)
    owner = error.owner if isinstance(error, CollegiumError) else context.job.use.rpartition("/")[0] or None
    return StageOutcome(
        stage=context.job.id,
        status="failed",
        seconds=seconds,
        rollouts=context.rollouts,
        tokens_generated=context.tokens_generated,
        problem=str(error) if ours else f"{type(error).__name__}: {error}",
        owner=owner,
        kind=type(error).__name__,
    )
