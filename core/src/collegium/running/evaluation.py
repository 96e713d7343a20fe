"""Evaluate a model that no stage made: a folder or hub name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from collegium.errors import PolicyError
from collegium.job import DomainSpec, StageJob
from collegium.planning.plan import Plan
from collegium.worker import run_guarded


def evaluate_path(plan: Plan, model: str, domains: Mapping[str, DomainSpec], directory: Path) -> dict[str, float]:
    """Return domain to held-out score in [0, 1].

    Raises:
        PolicyError: If the model cannot be read or evaluated.
    """
    if not Path(model).is_dir() and model.count("/") != 1:
        raise PolicyError(
            f"{model!r} is neither a folder nor a hub name such as owner/name",
            fix="a stage's model lies in RUN/stages/STAGE/model",
        )
    recipe = plan.recipe
    job = StageJob(
        id="eval",
        use="",
        options={},
        seed=recipe.seed,
        domains={},
        evaluate_on=dict(domains),
        evaluation=recipe.evaluation,
        errors=recipe.errors,
        directory=str(directory),
        threads=recipe.threads,
        train=False,
        model=str(Path(model).resolve()) if Path(model).exists() else model,
    )
    outcome = run_guarded(job, lambda _event: None)
    if outcome.status != "completed":
        raise PolicyError(outcome.problem, owner=outcome.owner)
    return outcome.scores
