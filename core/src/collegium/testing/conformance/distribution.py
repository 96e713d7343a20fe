"""Find what `collegium check` is asked to check: an installed distribution, or a folder with a pyproject.toml."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from collegium.errors import PluginLoadError, PluginNotFound
from collegium.plugins.discovery import GROUP, normalise
from collegium.testing.conformance.cases import CASES_FILE


@dataclass(frozen=True, slots=True)
class Target:
    """A distribution that can be discovered, and where its cases lie."""

    distribution: str
    version: str
    modules: tuple[str, ...]
    cases: Path | None


@contextmanager
def located(path_or_distribution: str) -> Iterator[Target]:
    """Make a distribution discoverable for as long as the context lasts.

    A folder need not be installed: its sources are put on the import path, with metadata made from its pyproject.toml.

    Raises:
        PluginNotFound: If there is no such folder or distribution.
        PluginLoadError: If it has no entry point in the group ``collegium``.
    """
    folder = Path(path_or_distribution)
    if not folder.is_dir():
        yield _installed(path_or_distribution)
        return
    project = _project(folder)
    with TemporaryDirectory(prefix="collegium-metadata-") as metadata:
        source = folder / "src" if (folder / "src").is_dir() else folder
        _write_metadata(Path(metadata), project)
        added = [str(source.resolve()), metadata]
        sys.path[:0] = added
        importlib.invalidate_caches()
        try:
            yield _target(project["name"], project["version"], project["modules"], folder)
        finally:
            sys.path[:] = [entry for entry in sys.path if entry not in added]


def _installed(name: str) -> Target:
    try:
        found = importlib.metadata.distribution(name)
    except (importlib.metadata.PackageNotFoundError, ValueError) as error:
        raise PluginNotFound(
            f"{name!r} is neither a folder nor an installed distribution",
            fix="give the folder that holds its pyproject.toml, or pip install it",
        ) from error
    modules = {entry.name: entry.value for entry in found.entry_points if entry.group == GROUP}
    return _target(found.metadata["Name"], found.version, modules, None)


def _project(folder: Path) -> dict[str, Any]:
    file = folder / "pyproject.toml"
    try:
        project = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PluginNotFound(f"{file} cannot be read: {error}", fix="give the folder of a distribution") from error
    if not isinstance(project.get("name"), str):
        raise PluginNotFound(f"{file} has no project.name", fix="name the distribution")
    modules = project.get("entry-points", {}).get(GROUP, {})
    return {"name": project["name"], "version": str(project.get("version", "0")), "modules": modules}


def _target(name: str, version: str, modules: dict[str, str], folder: Path | None) -> Target:
    if not modules:
        raise PluginLoadError(
            f"{name} has no entry point in the group {GROUP!r}",
            fix=f'add [project.entry-points.{GROUP}] with {name} = "your_package.plugin"',
            owner=name,
        )
    values = tuple(modules.values())
    return Target(normalise(name), version, values, _cases_file(values, folder))


def _cases_file(modules: tuple[str, ...], folder: Path | None) -> Path | None:
    """Return the package's cases: beside its entry-point module, in its folder, or among its tests."""
    places = [] if folder is None else [folder / CASES_FILE, folder / "tests" / CASES_FILE]
    for module in modules:
        found = importlib.util.find_spec(module.partition(".")[0])
        places += [Path(place) / CASES_FILE for place in (found.submodule_search_locations or ())] if found else []
    return next((place.resolve() for place in places if place.is_file()), None)


def _write_metadata(site: Path, project: dict[str, Any]) -> None:
    name = normalise(project["name"]).replace("-", "_")
    folder = site / f"{name}-{project['version']}.dist-info"
    folder.mkdir()
    header = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (folder / "METADATA").write_text(header, encoding="utf-8")
    lines = [f"{entry} = {value}" for entry, value in project["modules"].items()]
    (folder / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines, ""]), encoding="utf-8")
