"""`check`: the conformance kit on a whole distribution."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from collegium.errors import ConfigError

COLOURS = {"passed": "green", "failed": "red", "not applicable": "yellow"}


@click.command()
@click.argument("path_or_distribution")
@click.option("--cases", type=click.Path(path_type=Path), help="Labelled cases (JSON Lines). Default: the package's.")
@click.option("--set", "settings", multiple=True, metavar="NAME.OPTION=VALUE", help="An option of a component.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("conformance.json"), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(path_or_distribution: str, cases: Path | None, settings: tuple[str, ...], out: Path, as_json: bool) -> None:
    """Run the conformance checks of every component of a package (a folder or an installed distribution).

    The report is also kept in .collegium/conformance, for recipes that demand it. Exit code 1 if a check failed.
    """
    from collegium.testing.conformance.cases import read_cases
    from collegium.testing.conformance.distribution import located
    from collegium.testing.conformance.report import check_distribution, record_report, write_report

    options = _options(settings)
    with located(path_or_distribution) as target:
        if given := cases or target.cases:
            read_cases(given)
        report = check_distribution(target, cases=cases and cases.resolve(), options=options)
    write_report(report, out)
    record_report(report)
    if as_json:
        click.echo(json.dumps(report, indent=1))
    else:
        _print_table(report, out)
    if not report["passed"]:
        raise click.exceptions.Exit(1)


def _options(settings: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Read ``name.option=value`` settings; a value is YAML."""
    import yaml

    options: dict[str, dict[str, Any]] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        component, dot, option = key.partition(".")
        if not (equals and dot and component and option):
            raise ConfigError(f"--set {setting!r} is not NAME.OPTION=VALUE", fix="such as --set length.unit=words")
        try:
            options.setdefault(component, {})[option] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {setting!r}: the value is not YAML: {error}") from error
    return options


def _print_table(report: dict[str, Any], out: Path) -> None:
    counts = dict.fromkeys(COLOURS, 0)
    for component in report["components"]:
        click.secho(f"{component['kind']} {component['id']}", bold=True)
        for result in component["checks"]:
            counts[result["status"]] += 1
            status = click.style(f"{result['status']:<15}", fg=COLOURS[result["status"]])
            click.echo(f"  {status} {result['check']:<34} {_printable(result['reason'])}".rstrip())
    summary = ", ".join(f"{count} {status}" for status, count in counts.items())
    click.echo(f"{report['distribution']} {report['version']}, contract {report['contract']}: {summary} ({out})")


def _printable(text: str) -> str:
    """Return one line that every terminal can print: lone surrogates are escaped."""
    return " ".join(text.split()).encode("utf-8", "backslashreplace").decode("utf-8")
