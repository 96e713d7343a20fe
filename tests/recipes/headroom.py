"""The headroom that a consolidation captures: (student - start) / (teacher - start), by domain."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from tests.recipes.finished import FinishedRun
from tests.recipes.proportions import Share, change
from tests.recipes.thresholds import HEADROOM_STANDARD_ERRORS


@dataclass(frozen=True, slots=True)
class Headroom:
    """What a student captured.

    Args:
        shares: Of the domains with headroom.
        parts: Every domain's start, teacher and student, and its share where it has headroom.
    """

    shares: list[float]
    parts: dict[str, dict[str, float]]


def captured(run: FinishedRun, stage: str, teachers: Mapping[str, Collection[str]]) -> Headroom:
    """Return the headroom captured.

    Args:
        run: The run.
        stage: The student.
        teachers: Domain to the models that teach it; the best one is the measure.
    """
    shares: list[float] = []
    parts: dict[str, dict[str, float]] = {}
    for domain in run.scored(stage) if teachers else ():
        outside = run.teacher_scores.get(stage, {})
        start, student = run.score(run.scored_start(stage), domain), run.score(stage, domain)
        found = [
            Share(outside[model][domain], start.tasks) if model in outside else run.score(model, domain)
            for model in teachers.get(domain, ())
        ]
        if not found:
            continue
        teacher = max(found, key=lambda share: share.value)
        parts[domain] = {"start": start.value, "teacher": teacher.value, "student": student.value}
        if change([(start, teacher)]).above(HEADROOM_STANDARD_ERRORS):
            share = (student.value - start.value) / (teacher.value - start.value)
            parts[domain]["captured"] = share
            shares.append(share)
    return Headroom(shares, parts)


def teachers_of(run: FinishedRun, stage: str) -> dict[str, list[str]]:
    """Return each domain's teachers: the one of its name, else (a router by another rule) all of them.

    `self` is the start, which leaves no headroom. A teacher from outside the recipe keeps its own name.
    """
    node = run.nodes[stage]
    models = {
        name: run.start(stage) if teacher == "self" else teacher if isinstance(teacher, str) else name
        for name, teacher in node.teachers.items()
    }
    every = sorted(set(models.values()))
    return {domain: [models[domain]] if domain in models else every for domain in node.domains}


def generators(run: FinishedRun, stage: str) -> dict[str, set[str]]:
    """Return, by domain, the models whose completions a stage's data holds; its own start is none of them."""
    found: dict[str, set[str]] = {}
    for domain, model in _generated(run, stage):
        if model != run.start(stage):
            found.setdefault(domain, set()).add(model)
    return found


def _generated(run: FinishedRun, stage: str) -> Iterator[tuple[str, str]]:
    """Yield domain and model of what was sampled, through stages that only pass data on."""
    for source in run.nodes[stage].inputs.get("data_from", []):
        node = run.nodes[source]
        for model in node.inputs.get("generate_from", []):
            yield from ((domain, model) for domain in node.domains)
        yield from _generated(run, source)
