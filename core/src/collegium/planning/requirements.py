"""Check the recipe's `requires` against what is installed."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata

from packaging.requirements import InvalidRequirement, Requirement

from collegium.errors import Problem
from collegium.plugins.registry import Registry
from collegium.recipe.model import Recipe
from collegium.recipe.source import SourceMap


def check_requirements(recipe: Recipe, registry: Registry, sources: SourceMap) -> Iterator[Problem]:
    """Yield a problem for each requirement that is malformed, missing, of the wrong version, or broken."""
    for index, text in enumerate(recipe.requires):
        where = sources.locate(("requires", str(index)))
        try:
            requirement = Requirement(text)
        except InvalidRequirement as error:
            first = str(error).splitlines()[0]
            yield Problem(f"requires: {text!r} is no requirement: {first}", "such as acme-units>=1.2", None, where)
            continue
        fix = f"pip install {text!r}"
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            yield Problem(f"requires: {requirement.name} is not installed", fix, requirement.name, where)
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            found = f"requires: {requirement.name} {version} is installed, {requirement.specifier} is expected"
            yield Problem(found, fix, requirement.name, where)
        record = registry.record(requirement.name)
        if record is not None and record.status != "loaded":
            yield Problem(
                f"requires: {record.distribution} {version} is {record.status}: {record.cause}",
                "collegium plugins doctor shows the cause",
                record.distribution,
                where,
            )
