"""The admission gate: a teacher must beat the student's start on its own domain, or be declared `self`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from collegium.errors import Location, Problem, TeacherError
from collegium.planning.plan import PlannedStage
from collegium.recipe.model import AdmissionConfig


def routed_teachers(stage: PlannedStage) -> Iterator[tuple[str, str]]:
    """Yield each (domain, teacher name) of a stage's routes, `self` teachers left out."""
    for domain, route in stage.routes.items():
        for name in [route] if isinstance(route, str) else list(route):
            if stage.teachers[name] != "self":
                yield domain, name


def admit_teachers(
    stage: PlannedStage,
    start: Mapping[str, float],
    scores: Mapping[str, Mapping[str, float]],
    gate: AdmissionConfig,
    where: Location | None = None,
) -> None:
    """Compare each routed teacher's held-out score with the start's.

    Args:
        stage: A stage with teachers.
        start: Domain to the held-out score in [0, 1] of the model that the student starts from.
        scores: Teacher name to domain to its score; a teacher that cannot be evaluated is not in it.
        gate: What the recipe asks of a teacher.
        where: Where the recipe names the teachers.

    Raises:
        TeacherError: With one problem per teacher that is not good enough, or has no score.
    """
    problems = []
    for domain, name in routed_teachers(stage):
        own = scores.get(name, {}).get(domain)
        if own is None or domain not in start:
            if gate.unscored == "refuse":
                problems.append(
                    Problem(
                        f"{stage.id}: teacher {name!r} has no held-out score on {domain!r} to compare with the start's",
                        "let the stages be evaluated, or state admission: {unscored: admit}",
                        where=where,
                    )
                )
        elif own < start[domain] + gate.margin:
            problems.append(
                Problem(
                    f"{stage.id}: teacher {name!r} scores {own:.3f} on {domain!r}, the student starts at "
                    f"{start[domain]:.3f}; expected at least {gate.margin:g} more",
                    f"train it further, hold the domain (teachers: {{{name}: self}}), or lower admission.margin",
                    where=where,
                )
            )
    if problems:
        raise TeacherError.of(problems)
