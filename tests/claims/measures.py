"""What a claim measures of a variant's models, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from collegium.component import Use
from collegium.plugins.registry import Registry
from collegium.recipe import load_recipe
from collegium.recipe.model import Recipe
from tests.claims.claim import Measure, VariantRun
from tests.recipes.execute import PROFILE, ROOT
from tests.recipes.finished import FigureMissing, FinishedRun

BUDGETS = ("rollouts", "tokens", "steps")


def score(*domains: str) -> Measure:
    """Measure the held-out score, averaged over domains (of none: over all that the model is scored in)."""

    def measure(found: VariantRun) -> float:
        return _mean([_score(found.run, stage, domains) for stage in found.variant.stages])

    return measure


def _score(run: FinishedRun, stage: str, domains: Sequence[str]) -> float:
    return _mean([run.score(stage, domain).value for domain in domains or run.stage(stage)["scores"]])


def metric(name: str) -> Measure:
    """Measure a metric of the stage's last step."""

    def measure(found: VariantRun) -> float:
        return _mean([found.run.metric(stage, name) for stage in found.variant.stages])

    return measure


def judged(recipe: str, domain: str, verifier: Use | None = None) -> Measure:
    """Measure the score on a recipe's held-out tasks of a domain, judged by another verifier than the recipe's.

    So form can be judged where the run judged answers, and models of different recipes on the same tasks.
    """

    def measure(found: VariantRun) -> float:
        models = [found.directory / "stages" / stage / "model" for stage in found.variant.stages]
        return _mean(
            [_evaluate(model, load_recipe(ROOT / recipe, profile=PROFILE).recipe, domain, verifier) for model in models]
        )

    return measure


def _evaluate(model: Path, recipe: Recipe, domain: str, verifier: Use | None) -> float:
    """Return a model's score; completions on which the verifier has no opinion are left out."""
    from collegium.judge import Judge  # here, as they import torch
    from collegium.training.context import Domain
    from collegium.training.evaluate import evaluate_domains
    from collegium.training.language_model import LanguageModel

    registry, asked = Registry.discover(), recipe.domains[domain]
    chosen = verifier or asked.verifier
    built = registry.build("verifier", chosen.use, chosen.options)
    judge = Judge(built, owner="tests", name=chosen.use, policy=recipe.errors, domain=domain)
    tasks = registry.build("task", asked.task.use, asked.task.options)
    spec = recipe.evaluation.model_copy(update={"min_scored": 0.0})
    return evaluate_domains(LanguageModel.load(str(model)), {domain: Domain(domain, tasks, judge)}, spec)[domain].score


def _mean(values: Sequence[float]) -> float:
    if not values:
        raise FigureMissing("nothing to average")
    return sum(values) / len(values)


def budget_of(found: VariantRun) -> dict[str, float]:
    """Return what a variant's own stages cost: completions sampled, tokens sampled and trained on, optimizer steps."""
    run, stages = found.run, found.variant.budget or found.variant.stages
    entries = [run.stage(stage) for stage in stages]
    steps = [step for stage in stages for step in run.metrics.get(stage, ())]
    sampled = sum(entry["tokens_generated"] for entry in entries)
    return {
        "rollouts": float(sum(entry["rollouts"] for entry in entries)),
        "tokens": float(sampled + sum(step.get("tokens", 0.0) for step in steps)),
        "steps": float(len(steps)),
    }
