"""A plan as JSON and as text."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from collegium.planning.estimate import estimate
from collegium.planning.plan import Plan, PlannedStage
from collegium.planning.resources import StageResources
from collegium.planning.routes import teacher_label
from collegium.reporting.resources import describe_resources, resources_table, unknowns, warnings
from collegium.store import Store


def describe_plan(plan: Plan, store: Store | None) -> dict[str, Any]:
    """Return the plan as plain data: stages, routes, resources, packages, what is cached."""
    needs = estimate(plan)
    records = {entry.record.distribution: entry.record for entry in plan.entries.values()}
    return {
        "recipe": plan.recipe.name,
        "profile": plan.recipe.profile,
        "seed": plan.recipe.seed,
        "executor": plan.executor.use,
        "domains": {
            name: {
                "task": spec.task.use,
                "verifier": spec.verifier.use,
                "environment": spec.environment.use if spec.environment else None,
                "files": list(plan.data_digests[name]),
            }
            for name, spec in plan.domains.items()
        },
        "stages": [_stage(stage, store, needs[stage.id]) for stage in plan.stages.values()],
        "packages": [
            {
                "distribution": record.distribution,
                "version": record.version,
                "api": record.api,
                "components": sorted(
                    f"{entry.kind} {entry.component.name}"
                    for entry in plan.entries.values()
                    if entry.record.distribution == record.distribution
                ),
            }
            for record in sorted(records.values(), key=lambda record: record.distribution)
        ],
    }


def _stage(stage: PlannedStage, store: Store | None, needs: StageResources) -> dict[str, Any]:
    return {
        "id": stage.id,
        "use": stage.entry.id,
        "inputs": {edge: sources for edge, sources in stage.node.inputs.items() if edge != "teachers"},
        "domains": list(stage.node.domains),
        "teachers": {name: teacher_label(teacher) for name, teacher in stage.teachers.items()},
        "routes": dict(stage.routes),
        "produces": stage.config.produces,
        "resources": describe_resources(needs),
        "fingerprint": stage.fingerprint,
        "cached": store is not None and store.has(stage.fingerprint),
        "evaluated": store is not None
        and bool(stage.scores_fingerprint)
        and store.scores(stage.scores_fingerprint) is not None,
    }


def wide_console() -> Console:
    """Return a console that is wide enough for names where there is no terminal to ask."""
    console = Console()
    return console if console.is_terminal else Console(width=140)


def _table(title: str, *names: str) -> Table:
    """Return a table whose cells fold: a name is never cut."""
    table = Table(title=title)
    for name in names:
        table.add_column(name, overflow="fold")
    return table


def print_plan(described: dict[str, Any]) -> None:
    """Print a plan for people."""
    console = wide_console()
    head = f"{described['recipe']} (profile {described['profile']}, seed {described['seed']}, {described['executor']})"
    console.print(head, style="bold", highlight=False)
    stages = _table("stages", "stage", "component", "inputs", "domains", "state")
    for stage in described["stages"]:
        inputs = "; ".join(f"{edge}: {', '.join(sources)}" for edge, sources in stage["inputs"].items() if sources)
        state = "cached" if stage["cached"] else "to run"
        stages.add_row(stage["id"], stage["use"], inputs or "-", ", ".join(stage["domains"]), state)
    console.print(stages)
    _print_routes(console, described)
    _print_resources(console, described)
    domains = _table("domains", "domain", "tasks", "verifier", "environment", "files")
    for name, domain in described["domains"].items():
        files = ", ".join(domain["files"]) or "generated"
        domains.add_row(name, domain["task"], domain["verifier"], domain["environment"] or "-", files)
    console.print(domains)
    packages = _table("packages", "package", "version", "contract", "components")
    for package in described["packages"]:
        components = ", ".join(package["components"])
        packages.add_row(package["distribution"], package["version"], str(package["api"]), components)
    console.print(packages)


def _print_resources(console: Console, described: dict[str, Any]) -> None:
    rows = [(stage["id"], stage["resources"]) for stage in described["stages"]]
    console.print(resources_table(rows))
    for line in unknowns(rows):
        console.print(line, highlight=False, markup=False)
    for line in warnings(rows):
        console.print(line, style="bold red", highlight=False, markup=False)


def _print_routes(console: Console, described: dict[str, Any]) -> None:
    rows = [(stage["id"], domain, route) for stage in described["stages"] for domain, route in stage["routes"].items()]
    if not rows:
        return
    teachers = {stage["id"]: stage["teachers"] for stage in described["stages"]}
    routes = _table("routes", "stage", "domain", "teacher", "scored by")
    for stage_id, domain, route in rows:
        names = [route] if isinstance(route, str) else [f"{name} ({weight:g})" for name, weight in route.items()]
        scored = [route] if isinstance(route, str) else list(route)
        routes.add_row(stage_id, domain, ", ".join(names), ", ".join(teachers[stage_id][name] for name in scored))
    console.print(routes)
