"""What a claim measures of a variant's models, and what they cost."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

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


def probe(recipe: str, *domains: str) -> Measure:
    """Measure the score on domains of another recipe, such as one that judges form where the run judged answers."""

    def measure(found: VariantRun) -> float:
        models = [found.directory / "stages" / stage / "model" for stage in found.variant.stages]
        return _mean([_evaluate(str(model), recipe, domains) for model in models])

    return measure


def _evaluate(model: str, recipe: str, domains: Sequence[str]) -> float:
    chosen = [part for domain in domains for part in ("--domain", domain)]
    command = [sys.executable, "-m", "collegium", "eval", model, "--recipe", str(ROOT / recipe), *chosen]
    done = subprocess.run([*command, "--profile", PROFILE, "--json"], capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise FigureMissing(f"cannot evaluate {model} on {recipe}: {done.stderr.strip()}")
    return _mean(list(json.loads(done.stdout).values()))


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
