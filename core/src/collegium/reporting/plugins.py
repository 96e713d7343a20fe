"""Print what is known of plugins: a component, a diagnosis, a trace."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import click

COLOURS = {"loaded": "green", "failed": "red", "passed": "green", "stale": "yellow", "missing": "yellow"}


def print_component(component: Mapping[str, Any]) -> None:
    """Print a component as `collegium.cards.show.describe` describes it."""
    click.secho(f"{component['kind']} {component['id']} {component['version']}", bold=True)
    click.echo(component["summary"])
    for label, value in _facts(component):
        click.echo(f"  {label:<14} {value}")
    for fault in component["faults"]:
        click.secho(f"  {fault}", fg="red")
    _print_options(component["options"])
    click.secho("example", bold=True)
    click.echo(textwrap.indent(component["example"], "  "))


def _facts(component: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    distribution, card = component["distribution"], component["card"]
    yield "owner", distribution["owner"] or "not stated"
    yield "licence", distribution["licence"] or "not stated"
    yield "contract", str(component["api"])
    if card is None:
        yield "card", "malformed" if component["faults"] else "no card"
    else:
        yield from _card_facts(card)
    yield "conformance", _conformance(component)
    yield from (("measured", line) for line in _measured(component))


def _card_facts(card: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "domains", ", ".join(card["domains"]) or "any"
    yield "deterministic", "yes" if card["deterministic"] else "no"
    yield "network", "yes" if card["network"] else "no"
    yield "writes files", "yes" if card["writes_files"] else "no"
    yield "sandbox", card["sandbox"]
    for key in ("checkpoint", "endpoint", "tokenizer", "chat_template", "think_mode", "own_domain"):
        if key in card:
            yield key.replace("_", " "), _plain(card[key])
    if card["notes"]:
        yield "notes", card["notes"]


def _conformance(component: Mapping[str, Any]) -> str:
    found = component["conformance"]
    if found["state"] == "passed":
        return f"passed ({found['report']}{', made here' if found['local'] else ', made by the owner'})"
    return f"{found['state']}: {found['reason']} (collegium check {component['id'].partition('/')[0]})"


def _measured(component: Mapping[str, Any]) -> Iterator[str]:
    """Yield one line per set of cases that this component was measured on."""
    for row in _rows(component["measured"]):
        about = str(row.get("verifier", component["id"]))
        if about.rpartition("/")[2] == component["id"].rpartition("/")[2]:
            yield _measured_line(row)


def _measured_line(row: Mapping[str, Any]) -> str:
    """Return the figures of one row: those that it has, under their names."""
    options = f" ({_plain(row['options'])})" if row.get("options") else ""
    names = ("cases", "agreement", "false_positives", "false_negatives", "abstained", "errors")
    figures = [f"{name.replace('_', ' ')} {_plain(row[name])}" for name in names if row.get(name) is not None]
    return f"{row.get('name', 'labelled cases')}{options}: {', '.join(figures)}"


def _rows(measured: Any) -> list[Mapping[str, Any]]:
    """Return the rows of measured.json: a list, or the lists in a mapping, or the mapping itself."""
    if not isinstance(measured, Mapping):
        return [row for row in measured or () if isinstance(row, Mapping)]
    lists = [row for value in measured.values() if isinstance(value, list) for row in _rows(value)]
    return lists or [measured]


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    return value if isinstance(value, str) else json.dumps(value)


def _print_options(schema: Mapping[str, Any]) -> None:
    for option, field in schema.get("properties", {}).items():
        default = f" = {json.dumps(field['default'])}" if "default" in field else " (required)"
        click.echo(f"  {option}{default}")
        if field.get("description"):
            click.echo(textwrap.indent(field["description"], " " * 6))


def print_diagnosis(row: Mapping[str, Any]) -> None:
    """Print how one plugin loaded."""
    status = click.style(f"{row['status']:<8}", fg=COLOURS.get(row["status"], "yellow"))
    card = "" if row["card"] else ", no card"
    click.echo(f"{status} {row['distribution']} {row['version']} ({row['components']} components{card})")
    for fault in filter(None, (row["cause"], row["card_fault"])):
        click.echo(textwrap.indent(fault, " " * 9))


def print_trace(traced: Mapping[str, Any]) -> None:
    """Print the imports and calls of discovery, and the imports of planning, in order."""
    for plugin in traced["plugins"]:
        click.echo(
            f"{plugin['import_ms']:9.1f} ms  import {plugin['module']}  [{plugin['distribution']}, {plugin['status']}]"
        )
        for call in plugin["hooks"]:
            click.echo(f"{call['ms']:9.1f} ms    {call['hook']}: {call['components']} components")
    for each in traced["planning"]:
        click.echo(f"{each['import_ms']:9.1f} ms  planning imports {each['module']}  [{each['distribution']}]")
