"""Routing: which teacher, or which mixture of teachers, scores each row of a batch. There is no default route."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from collegium.errors import TeacherError
from collegium.kinds.router import Router
from collegium.task import Sample


def route_batch(router: Router, samples: Sequence[Sample], teachers: Collection[str]) -> list[dict[str, float]]:
    """Return each sample's teachers and their weights, which sum to 1.

    Raises:
        TeacherError: If the router has no teacher for a sample, names one that the stage does not have, or gives
            weights that are not a distribution.
    """
    return [_route(router, sample, teachers) for sample in samples]


def _route(router: Router, sample: Sample, teachers: Collection[str]) -> dict[str, float]:
    name, known = type(router).__name__, ", ".join(sorted(teachers)) or "none"
    where = f"{name} on task {sample.task.id!r} of domain {sample.domain!r}"
    try:
        route = router.route(sample)
    except LookupError as error:
        raise TeacherError(
            f"{where}: no teacher ({error}); the stage's teachers: {known}",
            fix="add a teacher or a route for the domain",
        ) from error
    weights = {route: 1.0} if isinstance(route, str) else {teacher: float(w) for teacher, w in route.items() if w != 0}
    unknown = sorted(set(weights) - set(teachers))
    if unknown:
        raise TeacherError(
            f"{where} names {', '.join(map(repr, unknown))}, which is no teacher of the stage; its teachers: {known}",
            fix="mend the router's options, or add the teacher",
        )
    total = sum(weights.values())
    if not weights or min(weights.values()) < 0 or not math.isclose(total, 1.0, abs_tol=1e-6):
        raise TeacherError(
            f"{where} gives weights {weights}, expected positive ones that sum to 1", fix="normalise them"
        )
    return weights
