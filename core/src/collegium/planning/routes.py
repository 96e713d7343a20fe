"""Probe a stage's router with every domain: fail closed before anything is spent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from collegium.component import Use
from collegium.errors import CollegiumError, Problem
from collegium.job import DomainSpec
from collegium.plugins.registry import Registry
from collegium.recipe.source import SourceMap
from collegium.task import Sample, Task

if TYPE_CHECKING:
    from collegium.planning.plan import PlannedStage


def probe_routes(
    stage: PlannedStage, domains: Mapping[str, DomainSpec], registry: Registry, sources: SourceMap
) -> list[Problem]:
    """Ask the router for each domain's teacher, fill in ``stage.routes``, and return what does not fit.

    A stage with teachers must have an option `router`; there is no default route.
    """
    where = sources.locate((*stage.node.path, "router")) or sources.locate(stage.node.path)
    use = stage.options.get("router")
    if not isinstance(use, Mapping):
        return [Problem(f"{stage.id}: it has teachers but no `router`", "router: by-domain", None, where)]
    owner = str(use["use"]).rpartition("/")[0]
    router = registry.build("router", use["use"], use["options"])
    problems = []
    for domain in stage.node.domains:
        try:
            route = _route(router, domain, domains[domain], registry)
        except Exception as error:
            text = error.problems[0].what if isinstance(error, CollegiumError) else str(error) or type(error).__name__
            fix = f"give {domain!r} a teacher in the router's options, or leave it out of the stage (domains: [...])"
            problems.append(Problem(f"{stage.id}: {use['use']} cannot route {domain!r}: {text}", fix, owner, where))
            continue
        names = [route] if isinstance(route, str) else list(route)
        unknown = [name for name in names if name not in stage.teachers]
        if unknown or not names:
            problems.append(
                Problem(
                    f"{stage.id}: domain {domain!r} goes to {', '.join(unknown) or 'nobody'}, which is no teacher "
                    f"of this stage; its teachers: {', '.join(sorted(stage.teachers)) or 'none'}",
                    f"add `{domain}:` to the stage's `teachers` (a stage, a component, or `self` to hold)",
                    owner,
                    where,
                )
            )
        stage.routes[domain] = route
    return problems


def _route(router: Any, domain: str, spec: DomainSpec, registry: Registry) -> Any:
    """Route a bare labelled sample; a router that reads more gets the domain's first training task."""
    try:
        return router.route(Sample(Task(id="probe", prompt="", domain=domain)))
    except LookupError:
        source = registry.build("task", spec.task.use, spec.task.options)
        return router.route(Sample(replace(source.tasks("train")[0], domain=domain)))


def teacher_label(teacher: str | Use) -> str:
    """Return how a plan names a teacher: a stage, ``self``, or the component."""
    return teacher.use if isinstance(teacher, Use) else teacher
