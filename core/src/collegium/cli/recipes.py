"""`plan`, `run` and `resume`."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collegium.planning.plan import Plan

DEFAULT_STORE = ".collegium/store"

recipe_argument = click.argument("recipe", type=click.Path(path_type=Path))
overrides_argument = click.argument("overrides", nargs=-1, metavar="[key=value ...]")
profile_option = click.option("--profile", metavar="NAME", help="Profile to lay over the recipe.")
store_option = click.option(
    "--store",
    metavar="DIR|URL",
    help="Artifact store: a folder, or an fsspec URL such as s3://bucket/prefix. "
    "Default: COLLEGIUM_STORE, else .collegium/store.",
)


def open_store(location: str | None) -> Any:
    """Open the artifact store that the option, the environment or the default names."""
    from collegium.remote_store import RemoteStore
    from collegium.store import Store
    from collegium.store_location import is_url

    named = location or os.environ.get("COLLEGIUM_STORE") or DEFAULT_STORE
    return RemoteStore(named) if is_url(named) else Store(Path(named))


def plan_recipe(recipe: Path, overrides: tuple[str, ...], profile: str | None) -> Plan:
    """Load and plan a recipe with the installed plugins."""
    from collegium.planning.plan import make_plan
    from collegium.plugins.registry import Registry
    from collegium.recipe.load import load_recipe

    return make_plan(load_recipe(recipe, overrides, profile), Registry.discover())


@click.command()
@recipe_argument
@overrides_argument
@profile_option
@store_option
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
def plan(recipe: Path, overrides: tuple[str, ...], profile: str | None, store: str | None, as_json: bool) -> None:
    """Show the DAG, routes, packages and what is cached; change nothing."""
    from collegium.reporting.plan import describe_plan, print_plan

    planned = plan_recipe(recipe, overrides, profile)
    described = describe_plan(planned, _peek_store(store))
    if as_json:
        click.echo(json.dumps(described, indent=1))
    else:
        print_plan(described)


def _peek_store(location: str | None) -> Any:
    """Return the store, or None where there is none yet: planning makes no folder."""
    from collegium.store_location import is_url

    named = location or os.environ.get("COLLEGIUM_STORE") or DEFAULT_STORE
    return open_store(named) if is_url(named) or (Path(named) / "objects").is_dir() else None


@click.command()
@recipe_argument
@overrides_argument
@profile_option
@store_option
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Run directory. Default: runs/NAME.")
@click.option("--locked", type=click.Path(path_type=Path, dir_okay=False), help="Refuse any drift from this lock.")
def run(
    recipe: Path,
    overrides: tuple[str, ...],
    profile: str | None,
    store: str | None,
    out: Path | None,
    locked: Path | None,
) -> None:
    """Run a recipe to its end; finished stages come from the store."""
    from collegium.running.directory import RunDirectory
    from collegium.running.lock import make_lock, refuse_drift
    from collegium.store import read_object

    planned = plan_recipe(recipe, overrides, profile)
    if locked is not None:
        fix = f"install what {locked} names, or run without --locked"
        refuse_drift(read_object(locked), make_lock(planned), against=str(locked), fix=fix)
    opened = open_store(store)
    opened.require_writable()
    directory = RunDirectory.create(out or Path("runs") / planned.recipe.name, planned.loaded.resolved)
    directory.remember_store(opened.location)
    _drive(planned, directory, opened, resumed=False)


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@store_option
def resume(directory: Path, store: str | None) -> None:
    """Go on with a run that was stopped, and end with the numbers of an uninterrupted one."""
    from collegium.running.directory import LOCK, RECIPE, RunDirectory
    from collegium.running.lock import make_lock, refuse_drift
    from collegium.store import read_object

    opened = RunDirectory.open(directory)
    planned = plan_recipe(directory / RECIPE, (), None)
    fix = "restore what changed, or start anew with: collegium run"
    refuse_drift(read_object(directory / LOCK), make_lock(planned), against=str(directory / LOCK), fix=fix)
    opened.hold()
    artifacts = open_store(store or opened.store_location())
    artifacts.require_writable()
    _drive(planned, opened, artifacts, resumed=True)


def _drive(planned: Plan, directory: Any, store: Any, *, resumed: bool) -> None:
    """Run with progress shown; SIGTERM ends as Ctrl-C does."""
    from rich.console import Console

    from collegium.reporting.progress import ProgressDisplay
    from collegium.reporting.table import print_report
    from collegium.running.runner import Runner

    console = Console(soft_wrap=True)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with ProgressDisplay(console) as progress:
            report = Runner(planned, directory, store, progress).run(resumed=resumed)
    except KeyboardInterrupt:
        console.print(f"interrupted; go on with: collegium resume {directory.path}", markup=False)
        raise click.exceptions.Exit(130) from None
    print_report(console, report)
    console.print(f"report: {directory.path / 'report.html'}", markup=False, highlight=False)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
