"""`new`: write a plugin package that works at once."""

from __future__ import annotations

from pathlib import Path
from typing import cast, get_args

import click

from collegium.scaffold.kinds import PackageKind
from collegium.scaffold.package import DEFAULT_VERIFIER, LICENCES, PackageRequest, write_package


@click.command()
@click.argument("kind", type=click.Choice(get_args(PackageKind)))
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write, which must not exist. Default: NAME.")
@click.option("--licence", type=click.Choice(LICENCES), default=LICENCES[0], show_default=True)
@click.option("--owner", default="", metavar="TEXT", help="Who holds the copyright.")
@click.option(
    "--verifier",
    metavar="DISTRIBUTION/NAME",
    help=f"The verifier that judges a teacher package's tasks. Default: {DEFAULT_VERIFIER}.",
)
def new(kind: str, name: str, out: Path | None, licence: str, owner: str, verifier: str | None) -> None:
    """Write a package called NAME that offers a component of KIND, with its tests."""
    folder = out or Path(name)
    if verifier is not None and kind != "teacher":
        raise click.UsageError(f"--verifier is for a teacher package, whose tasks it judges; a {kind} has none")
    request = PackageRequest(cast(PackageKind, kind), name, licence, owner, verifier or DEFAULT_VERIFIER)
    for path in write_package(request, folder):
        click.echo(f"  {folder / path}")
    click.echo(f"\nIt works as it stands:\n  cd {folder}\n  pip install -e '.[test]'\n  pytest")
    click.echo(f"  collegium plugins show {name}")
