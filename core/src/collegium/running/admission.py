"""The admission gate: a teacher must beat the student's start on its own domain, or be declared `self`."""

from __future__ import annotations

from collections.abc import Mapping

from collegium.component import Use
from collegium.errors import Problem, TeacherError
from collegium.planning.plan import PlannedStage


def admit_teachers(stage: PlannedStage, scores: Mapping[str, Mapping[str, float]], margin: float) -> None:
    """Compare each routed teacher's held-out score with the start's.

    Args:
        stage: A stage with teachers.
        scores: Stage id to domain to held-out score in [0, 1].
        margin: What a teacher must be ahead by.

    Raises:
        TeacherError: With one problem per teacher that is not good enough.
    """
    start = scores.get(stage.node.inputs["init_from"][0], {})
    problems = []
    for domain, route in stage.routes.items():
        for name in [route] if isinstance(route, str) else list(route):
            teacher = stage.teachers[name]
            if isinstance(teacher, Use) or teacher == "self" or domain not in start:
                continue
            own = scores.get(teacher, {}).get(domain)
            if own is not None and own < start[domain] + margin:
                problems.append(
                    Problem(
                        f"{stage.id}: teacher {teacher!r} scores {own:.3f} on {domain!r}, the student starts at "
                        f"{start[domain]:.3f}; expected at least {margin:g} more",
                        f"train it further, or hold the domain: teachers: {{{name}: self}}",
                    )
                )
    if problems:
        raise TeacherError.of(problems)
