"""`plugins list|show|doctor|trace`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from collegium.errors import PluginNotFound
from collegium.plugins.registry import Entry, Registry

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def plugins() -> None:
    """Show the installed plugins and what they offer."""


@plugins.command("list")
@click.option("--requirements", is_flag=True, help="Print the distributions as lines for pip.")
@json_option
def list_plugins(requirements: bool, as_json: bool) -> None:
    """List every component by kind, with its package."""
    registry = Registry.discover()
    if requirements:
        _print_requirements(registry, as_json)
        return
    if as_json:
        click.echo(json.dumps([_brief(entry) for entry in registry.entries()], indent=1))
        return
    kind = ""
    for entry in registry.entries():
        if entry.kind != kind:
            kind = entry.kind
            click.secho(kind, bold=True)
        click.echo(f"  {entry.id:<44} {entry.record.version:<8} {entry.component.summary}")
    _mention_broken(registry)


def _print_requirements(registry: Registry, as_json: bool) -> None:
    lines = sorted({f"{record.distribution}=={record.version}" for record in registry.records})
    click.echo(json.dumps(lines, indent=1) if as_json else "\n".join(lines))


def _brief(entry: Entry) -> dict[str, Any]:
    return {
        "kind": entry.kind,
        "id": entry.id,
        "version": entry.record.version,
        "api": entry.record.api,
        "summary": entry.component.summary,
    }


def _mention_broken(registry: Registry) -> None:
    broken = [record.distribution for record in registry.records if record.status == "failed"]
    if broken:
        click.secho(f"failed to load: {', '.join(broken)} (see: collegium plugins doctor)", fg="red", err=True)


@plugins.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show the components called NAME (short, distribution/short, or a whole distribution): card, options, example.

    Exit code 1 if a card or another file beside the code is malformed.
    """
    from collegium.cards.show import describe
    from collegium.reporting.plugins import print_component

    registry = Registry.discover()
    names = (name, name.lower())
    found = [
        entry
        for entry in registry.entries()
        if {entry.id, entry.component.name, entry.record.distribution}.intersection(names)
    ]
    if not found:
        raise _not_shown(registry, name)
    described = [describe(entry, registry) for entry in found]
    if as_json:
        click.echo(json.dumps(described, indent=1))
    else:
        for component in described:
            print_component(component)
    if any(component["faults"] for component in described):
        raise click.exceptions.Exit(1)


def _not_shown(registry: Registry, name: str) -> PluginNotFound:
    record = registry.record(name.partition("/")[0])
    if record is not None and record.status != "loaded":
        return PluginNotFound(
            f"{record.distribution} {record.version} is {record.status}: {record.cause}",
            fix="collegium plugins doctor shows the cause",
            owner=record.distribution,
        )
    return PluginNotFound(f"no component or distribution {name!r} is installed", fix="collegium plugins list")


@plugins.command()
@click.option("--timeout", default=20.0, show_default=True, help="Seconds that one plugin's import may take.")
@json_option
def doctor(timeout: float, as_json: bool) -> None:
    """Show how each plugin loads, and whether its card is sound; exit code 1 if something is broken.

    Each is first imported in a child process, so that one that crashes, exits or hangs is named.
    """
    from collegium.plugins.doctor import examine
    from collegium.reporting.plugins import print_diagnosis

    rows = examine(timeout)
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    else:
        for row in rows:
            print_diagnosis(row)
    if any(row["status"] == "failed" or row["card_fault"] for row in rows):
        raise click.exceptions.Exit(1)


@plugins.command()
@click.argument("recipe", type=click.Path(path_type=Path, dir_okay=False), required=False)
@json_option
def trace(recipe: Path | None, as_json: bool) -> None:
    """Show what discovery imports and calls, with times; with RECIPE also what planning it imports."""
    from collegium.reporting.plugins import print_trace

    registry = Registry.discover()
    traced: dict[str, Any] = {
        "plugins": [
            {
                "distribution": record.distribution,
                "module": record.module,
                "status": record.status,
                "import_ms": round(1000 * record.seconds, 3),
                "hooks": [
                    {"hook": call.hook, "components": call.components, "ms": round(1000 * call.seconds, 3)}
                    for call in record.hooks
                ],
            }
            for record in registry.records
        ],
        "planning": [] if recipe is None else _planning_imports(recipe, registry),
    }
    if as_json:
        click.echo(json.dumps(traced, indent=1))
    else:
        print_trace(traced)


def _planning_imports(recipe: Path, registry: Registry) -> list[dict[str, Any]]:
    """Plan a recipe and return the imports of plugins' modules, the first of each."""
    from collegium.planning.plan import make_plan
    from collegium.plugins.guard import recorded_imports
    from collegium.recipe.load import load_recipe

    loaded = load_recipe(recipe, (), None)
    with recorded_imports() as imports:
        make_plan(loaded, registry)
    first = {each.module: each for each in reversed(imports)}
    return [
        {"distribution": each.owner, "module": each.module, "import_ms": round(1000 * each.seconds, 3)}
        for each in reversed(first.values())
    ]
