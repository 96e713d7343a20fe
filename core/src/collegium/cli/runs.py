"""`report`, `diff` and `eval`."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import click

from collegium.cli.recipes import plan_recipe, profile_option


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print report.json.")
def report(directory: Path, as_json: bool) -> None:
    """Print a run's table again."""
    from rich.console import Console

    from collegium.reporting.table import print_report
    from collegium.running.directory import REPORT, RunDirectory
    from collegium.store import read_object

    content = read_object(RunDirectory.open(directory).path / REPORT)
    if as_json:
        click.echo(json.dumps(content, indent=1))
    else:
        print_report(Console(soft_wrap=True), content)


@click.command()
@click.argument("directory_a", type=click.Path(path_type=Path))
@click.argument("directory_b", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def diff(directory_a: Path, directory_b: Path, as_json: bool) -> None:
    """Say what changed between two runs, and what it did to each domain."""
    from collegium.reporting.diff import diff_runs

    found = diff_runs(directory_a, directory_b)
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    for sentence in found["changes"] or ["nothing that can change a result"]:
        click.echo(sentence)
    for domain, row in found["domains"].items():
        click.echo(f"{domain}: student {_scores(row)}")
        if not row["comparable"]:
            click.echo("    its held-out tasks or its verifier changed: the scores are not comparable")
        for cause in row["causes"]:
            because = "; ".join(cause["because"]) or "its code"
            click.echo(f"    {cause['stage']} changed itself; its own score here: {_scores(cause)}: {because}")
    if found["stages"]:
        click.echo(f"stages that are not the same artifact: {', '.join(found['stages'])}")


def _scores(row: dict[str, Any]) -> str:
    """Return two scores and their difference in words."""
    change = "" if row["change"] is None else f" ({row['change']:+.3f})"
    return f"{row['a']} -> {row['b']}{change}"


@click.command("eval")
@click.argument("model")
@click.option("--recipe", type=click.Path(path_type=Path), required=True, help="Recipe whose domains to evaluate on.")
@click.option("--domain", "domains", multiple=True, metavar="NAME", help="Only this domain; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@profile_option
def evaluate(model: str, recipe: Path, domains: tuple[str, ...], as_json: bool, profile: str | None) -> None:
    """Evaluate MODEL (a folder or hub name) on a recipe's held-out tasks."""
    from collegium.errors import RecipeError
    from collegium.running.evaluation import evaluate_path

    planned = plan_recipe(recipe, (), profile)
    unknown = [name for name in domains if name not in planned.domains]
    if unknown:
        raise RecipeError(f"no domain {unknown[0]!r} in {recipe}", fix=f"one of {', '.join(planned.domains)}")
    chosen = {name: spec for name, spec in planned.domains.items() if not domains or name in domains}
    with tempfile.TemporaryDirectory(prefix="collegium-eval-") as folder:
        scores = evaluate_path(planned, model, chosen, Path(folder))
    if as_json:
        click.echo(json.dumps(scores, indent=1))
    else:
        for name, score in scores.items():
            click.echo(f"{name}: {score:.3f}")
