"""`plugins list|show|doctor`."""

from __future__ import annotations

import json
from typing import Any

import click

from collegium.errors import PluginNotFound
from collegium.plugins.registry import Entry, Registry

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def plugins() -> None:
    """Show the installed plugins and what they offer."""


@plugins.command("list")
@json_option
def list_plugins(as_json: bool) -> None:
    """List every component by kind, with its package."""
    registry = Registry.discover()
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
    """Show the components called NAME (short or distribution/short) and their options."""
    registry = Registry.discover()
    found = [entry for entry in registry.entries() if name in (entry.id, entry.component.name)]
    if not found:
        raise PluginNotFound(f"no component {name!r} is installed", fix="collegium plugins list")
    described = [_brief(entry) | {"options": entry.config_class().model_json_schema()} for entry in found]
    if as_json:
        click.echo(json.dumps(described, indent=1))
        return
    for component in described:
        click.secho(f"{component['kind']} {component['id']} {component['version']}", bold=True)
        click.echo(component["summary"])
        for option, schema in component["options"].get("properties", {}).items():
            default = f" = {json.dumps(schema['default'])}" if "default" in schema else " (required)"
            click.echo(f"  {option}{default}")
            if schema.get("description"):
                click.echo(f"      {schema['description']}")


@plugins.command()
@json_option
def doctor(as_json: bool) -> None:
    """Show how each plugin loaded; exit code 1 if something is broken."""
    registry = Registry.discover()
    records = [
        {
            "distribution": record.distribution,
            "version": record.version,
            "module": record.module,
            "api": record.api,
            "status": record.status,
            "cause": record.cause,
            "components": len(record.components),
        }
        for record in registry.records
    ]
    if as_json:
        click.echo(json.dumps(records, indent=1))
    else:
        for record in records:
            colour = {"loaded": "green", "failed": "red"}.get(str(record["status"]), "yellow")
            status = click.style(f"{record['status']:<8}", fg=colour)
            click.echo(f"{status} {record['distribution']} {record['version']} ({record['components']} components)")
            if record["cause"]:
                click.echo(f"         {record['cause']}")
    if any(record["status"] == "failed" for record in records):
        raise click.exceptions.Exit(1)
