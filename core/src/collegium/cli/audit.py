"""`audit`: what a verifier gets wrong on labelled cases."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from collegium.cli.settings import read_settings
from collegium.errors import ConfigError

if TYPE_CHECKING:
    from collegium.audit import AuditReport

SHOWN = 20
"""Ids of a list that are printed; --json has all."""


@click.command()
@click.argument("verifier")
@click.option("--cases", type=click.Path(path_type=Path), required=True, help="Labelled cases (JSON Lines).")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="An option of the verifier; may be repeated."
)
@click.option("--against", metavar="VERIFIER", help="Another verifier to compare with, case by case.")
@click.option(
    "--against-set", "against_settings", multiple=True, metavar="KEY=VALUE", help="An option of the other verifier."
)
@click.option("--threshold", type=click.FloatRange(0, 1), default=1.0, show_default=True, help="Score that passes.")
@click.option("--no-perturb", is_flag=True, help="Do not rewrite right answers.")
@click.option("--no-exploits", is_flag=True, help="Do not try completions that answer nothing.")
@click.option("--fail-under", type=click.FloatRange(0, 1), help="Exit with 1 if the agreement is below this.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Also write the JSON here.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def audit(
    verifier: str,
    cases: Path,
    settings: tuple[str, ...],
    against: str | None,
    against_settings: tuple[str, ...],
    threshold: float,
    no_perturb: bool,
    no_exploits: bool,
    fail_under: float | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Say what VERIFIER (a short name or distribution/name) gets wrong on labelled cases.

    It also rewrites right answers, tries completions that answer nothing, and measures its time.
    """
    from collegium.audit import AuditSpec, Depth, run_audit
    from collegium.plugins.registry import Registry
    from collegium.store import write_json
    from collegium.testing.conformance.cases import read_cases

    depth = Depth(
        threshold, perturb=0 if no_perturb else Depth().perturb, exploits=0 if no_exploits else Depth().exploits
    )
    if math.isnan(threshold) or (fail_under is not None and math.isnan(fail_under)):
        raise ConfigError("--threshold and --fail-under must be numbers from 0 to 1, found nan")
    if out is not None and not out.absolute().parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {out.parent}", fix="make it, or name another file")
    spec = AuditSpec(str(cases), verifier, read_cases(cases), options=read_settings(settings))
    repeated = [name for name, count in Counter(case.id for case in spec.cases).items() if count > 1]
    if repeated:
        click.echo(f"{len(repeated)} ids of {cases} are not unique, such as {repeated[0]!r}", err=True)
    report = run_audit(spec, Registry.discover(), depth, against, read_settings(against_settings))
    if as_json:
        click.echo(json.dumps(report.to_json(), indent=1))
    else:
        _print(report)
    if out is not None:  # after the figures are shown: a full disk must not lose them
        write_json(out, report.to_json())
    if fail_under is not None and (report.agreement or 0.0) < fail_under:
        raise click.exceptions.Exit(1)


def _print(report: AuditReport) -> None:
    click.secho(f"{report.verifier} {dict(report.options) or ''}".rstrip(), bold=True)
    speed = f"{report.items_per_s:.0f} cases/s" if report.items_per_s else "no cases"
    agreement = "-" if report.agreement is None else f"{report.agreement:.2%}"
    click.echo(f"{report.cases} labelled cases: agreement {agreement}, {report.seconds:.2f} s ({speed})")
    for name in ("false_positives", "false_negatives", "abstained", "errors", "unstable"):
        _print_ids(name.replace("_", " "), getattr(report, name), report.reasons)
    if report.latency:
        click.echo("one case alone: " + ", ".join(f"{name} {s * 1000:.1f} ms" for name, s in report.latency.items()))
    if report.perturbations is not None:
        none = "" if report.perturbations.tried else " (the verifier states no rewriting, and no reference is a number)"
        click.echo(f"right answers rewritten: {report.perturbations.tried}{none}")
        _print_ids("no longer pass, though their value is the same", report.perturbations.lost)
        _print_ids("still pass, though their value is another", report.perturbations.kept)
        if report.perturbations.errors:
            _print_ids("the verifier could not say its rewritings", report.perturbations.errors)
    if report.exploits is not None:
        click.echo(f"completions that answer nothing: {report.exploits.tried}")
        _print_ids("pass all the same", report.exploits.passed)
        _print_ids("errors", report.exploits.errors)
    if report.comparison is not None:
        _print_comparison(report.comparison)


def _print_comparison(found: Any) -> None:
    click.echo(f"against {found.other}: both pass {found.both_pass}, both fail {found.both_fail}")
    _print_ids("pass only here", found.only_this)
    _print_ids(f"pass only with {found.other}", found.only_other)
    _print_ids("undecided by one", found.undecided)


def _print_ids(title: str, ids: list[str], reasons: dict[str, str] | None = None) -> None:
    if not ids:
        click.echo(f"  {title}: none")
        return
    click.echo(f"  {title}: {len(ids)}")
    for name in ids[:SHOWN]:
        reason = (reasons or {}).get(name)
        click.echo(f"    {name}" + (f": {reason}" if reason else ""))
    if len(ids) > SHOWN:
        click.echo(f"    ... and {len(ids) - SHOWN} more (--json has all)")
