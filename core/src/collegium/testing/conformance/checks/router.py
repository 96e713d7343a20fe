"""Checks of routers: a teacher's name, weights that sum to 1, or LookupError; the same again."""

from __future__ import annotations

import math

from collegium.task import Sample, Task
from collegium.testing.conformance.check import check
from collegium.testing.conformance.exercise import Outcome, route, router_samples
from collegium.testing.conformance.outcome import NotApplicable, require
from collegium.testing.conformance.subject import Subject


@check("router")
def routes_valid(subject: Subject) -> None:
    """A route is a teacher's name, or weights over names that are not negative and sum to 1."""
    for sample in router_samples(subject):
        _require_route(route(subject.shared, sample))


@check("router")
def no_default_route(subject: Subject) -> None:
    """A sample without a domain, and without data that name a teacher, has no teacher: LookupError."""
    outcome = route(subject.shared, Sample(Task("conformance", "?")))
    require(outcome == ["no teacher"], f"a sample without domain and data is routed: {outcome}")


@check("router")
def routes_repeat(subject: Subject) -> None:
    """A sample's route does not depend on the samples before it, nor on its completion being there yet."""
    samples = router_samples(subject)
    first = [route(subject.shared, sample) for sample in samples]
    again = [route(subject.shared, sample) for sample in samples[::-1]][::-1]
    require(first == again, f"first {first}, then {again}")
    if all(outcome == ["no teacher"] for outcome in first):
        raise NotApplicable("it has no teacher for any sample; give cases with the data that it reads")


def _require_route(outcome: Outcome) -> None:
    kind, *rest = outcome
    if kind == "teacher":
        require(isinstance(rest[0], str) and bool(rest[0]), f"route returned {rest[0]!r}, expected a name or weights")
    elif kind == "weights":
        weights = list(rest[0].values())
        valid = all(isinstance(each, (int, float)) and 0 <= each < math.inf for each in weights)
        require(valid and math.isclose(sum(weights), 1, abs_tol=1e-6), f"weights {rest[0]} must be >= 0 and sum to 1")
