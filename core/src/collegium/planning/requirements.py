"""Check the recipe's `requires` against what is installed."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from collegium.errors import Location, Problem
from collegium.planning.conformance import Conformance, conformance_of
from collegium.plugins.discovery import PluginRecord, normalise
from collegium.plugins.registry import Registry
from collegium.recipe.model import Recipe, RequirementConfig
from collegium.recipe.source import SourceMap


def check_requirements(recipe: Recipe, registry: Registry, sources: SourceMap) -> Iterator[Problem]:
    """Yield a problem for each requirement that is malformed, missing, of the wrong version, broken or unproven."""
    for index, asked in enumerate(recipe.requires):
        where = sources.places.get(("requires", asked.name)) or sources.locate(("requires", str(index)))
        yield from _check(asked, registry, where)


def locked_requirements(recipe: Recipe, registry: Registry) -> list[dict[str, Any]]:
    """Return what the recipe demands, for the lock, with the conformance report that satisfied it."""
    rows = []
    for asked in recipe.requires:
        row: dict[str, Any] = asked.model_dump(mode="json")
        if asked.conformance:
            found = conformance_of(registry.records_of(asked.name), local_only=asked.conformance == "local")
            row["report"] = {"file": found.report, "local": found.local}
        rows.append(row)
    return rows


def _check(asked: RequirementConfig, registry: Registry, where: Location | None) -> Iterator[Problem]:
    text = f"{asked.name}{asked.version}"
    try:
        specifier = _specifier(asked)
    except (InvalidRequirement, InvalidSpecifier) as error:
        first = str(error).splitlines()[0]
        yield Problem(f"requires: {text!r} is no requirement: {first}", "such as acme-units>=1.2", None, where)
        return
    try:
        version = metadata.version(asked.name)
    except metadata.PackageNotFoundError:
        yield Problem(f"requires: {asked.name} is not installed", f"pip install {text!r}", asked.name, where)
        return
    if not specifier.contains(version, prereleases=True):
        found = f"requires: {asked.name} {version} is installed, {specifier} is expected"
        yield Problem(found, f"pip install {text!r}", asked.name, where)
    yield from _check_plugin(asked, version, registry.records_of(asked.name), where)


def _specifier(asked: RequirementConfig) -> SpecifierSet:
    """Return a requirement's version range; the space keeps a bare version from becoming part of the name."""
    if not asked.version or asked.version.lstrip()[:1] in "[;@(":
        found = Requirement(f"{asked.name} {asked.version}")
        if found.url is not None or found.marker is not None:
            raise InvalidRequirement("an address or a marker cannot be checked here; give a version range")
        return found.specifier
    Requirement(asked.name)
    return SpecifierSet(asked.version)


def _check_plugin(
    asked: RequirementConfig, version: str, records: list[PluginRecord], where: Location | None
) -> Iterator[Problem]:
    """Check that the distribution's plugin works, and conforms where that is demanded."""
    broken = [record for record in records if record.status != "loaded"]
    for record in broken:
        yield Problem(
            f"requires: {record.distribution} {version} is {record.status}: {record.cause}",
            "collegium plugins doctor shows the cause",
            record.distribution,
            where,
        )
    if asked.conformance and not broken:
        yield from _check_conformance(asked, records, where)


def _check_conformance(
    asked: RequirementConfig, records: list[PluginRecord], where: Location | None
) -> Iterator[Problem]:
    name = normalise(asked.name)
    if not records:
        yield Problem(f"requires: {name} offers no plugin, so it has no conformance", "", name, where)
        return
    found: Conformance = conformance_of(records, local_only=asked.conformance == "local")
    if found.state != "passed":
        made = " made here" if asked.conformance == "local" else ""
        what = f"requires: {name} must have a passed conformance report{made}: {found.reason}"
        check = f"collegium check {name}"
        yield Problem(what, f"mend what failed, then: {check}" if found.state == "failed" else check, name, where)
