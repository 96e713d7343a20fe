"""Load a recipe: `extends`, profile, command-line overrides and interpolation, then validation."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from collegium.errors import Location, RecipeError
from collegium.recipe.model import Recipe
from collegium.recipe.problems import problems_of
from collegium.recipe.source import SourceMap, read_yaml


@dataclass(frozen=True, slots=True)
class LoadedRecipe:
    """A recipe with the places of its keys and its plain resolved form."""

    recipe: Recipe
    sources: SourceMap
    resolved: dict[str, Any]
    path: Path


def load_recipe(path: str | Path, overrides: Sequence[str] = (), profile: str | None = None) -> LoadedRecipe:
    """Read, merge, resolve and validate a recipe.

    Args:
        path: The YAML file.
        overrides: Dotted ``key=value`` items; the last word.
        profile: Profile to lay over the recipe; default its own `profile`.

    Raises:
        RecipeError: With one problem per fault, each with file and line.
    """
    path = Path(path)
    try:
        return _load(path, overrides, profile)
    except RecipeError:
        raise
    except (OmegaConfBaseException, yaml.YAMLError, RecursionError, TypeError, ValueError, AttributeError) as error:
        first = (str(error).splitlines() or [""])[0]
        raise RecipeError(
            f"cannot be read as a recipe: {type(error).__name__}: {first[:200]}",
            fix="look for keys or values of the wrong kind, or nested too deep",
            where=Location(str(path)),
        ) from error


def _load(path: Path, overrides: Sequence[str], profile: str | None) -> LoadedRecipe:
    merged, sources = _with_bases(path, ())
    override, override_sources = _parse_overrides(overrides)
    if profile is not None:
        merged["profile"] = profile
    elif "profile" in override:
        merged["profile"] = override["profile"]
    chosen = str(merged.get("profile", "lab"))
    patch = _profile_patch(merged, chosen, sources)
    if patch is not None:
        merged = OmegaConf.merge(merged, patch)
        sources.update(sources.moved(("profiles", chosen), ()))
    _check_override_stages(merged, override)
    try:
        merged = OmegaConf.merge(merged, override)
        sources.update(override_sources)
        resolved: Any = OmegaConf.to_container(merged, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        key = str(getattr(error, "full_key", "") or "")
        raise RecipeError(f"{key}: {str(error).splitlines()[0]}", where=sources.locate(key.split("."))) from error
    _drop_nulls(resolved)
    if patch is not None:  # laid over already: a saved recipe must not lay it over again
        resolved["profiles"] = {chosen: {}}
    return LoadedRecipe(_validate(resolved, sources, path), sources, resolved, path)


def _with_bases(path: Path, chain: tuple[Path, ...]) -> tuple[Any, SourceMap]:
    """Read a file and what it extends; the file itself wins."""
    resolved = path.resolve()
    if resolved in chain:
        circle = " -> ".join(str(p) for p in (*chain, resolved))
        raise RecipeError(f"recipes extend each other in a circle: {circle}", where=Location(str(path)))
    data, own = read_yaml(path)
    bases = data.pop("extends", [])
    if not isinstance(bases, str) and not (isinstance(bases, list) and all(isinstance(b, str) for b in bases)):
        raise RecipeError(
            f"extends: expected a file or a list of files, found {bases!r}", where=own.locate(("extends",))
        )
    merged: Any = OmegaConf.create({})
    sources = SourceMap()
    for base in [bases] if isinstance(bases, str) else bases:
        base_data, base_sources = _with_bases(path.parent / base, (*chain, resolved))
        merged = OmegaConf.merge(merged, base_data)
        sources.update(base_sources)
    sources.update(own)
    return OmegaConf.merge(merged, OmegaConf.create(data)), sources


def _parse_overrides(overrides: Sequence[str]) -> tuple[Any, SourceMap]:
    for item in overrides:
        if "=" not in item:
            raise RecipeError(f"override {item!r} must have the form key=value", where=Location("command line"))
    sources = SourceMap()
    for item in overrides:
        keys = tuple(item.partition("=")[0].split("."))
        for end in range(1, len(keys) + 1):
            sources.places[keys[:end]] = Location("command line")
    return OmegaConf.from_dotlist(list(overrides)), sources


def _check_override_stages(merged: Any, override: Any) -> None:
    """Refuse an override of a stage that the recipe does not have, unless it makes one with `use`."""
    stages = merged.get("stages") or {}
    for name, entry in (override.get("stages") or {}).items():
        if name in stages or (isinstance(entry, Mapping) and "use" in entry):
            continue
        names = [str(stage) for stage in stages]
        fanned = next((stage for stage in names if str(name).startswith(f"{stage}-")), None)
        close = difflib.get_close_matches(str(name), names, n=1)
        if fanned:
            fix = f"{name} comes from {fanned!r}: stages.{fanned}.per.{str(name)[len(fanned) + 1 :]}.KEY=VALUE"
        else:
            fix = f"did you mean {close[0]!r}?" if close else "name one of these"
        found = f"no stage {str(name)!r} to override; there are: {', '.join(names)}"
        raise RecipeError(found, fix=fix, where=Location("command line"))


def _profile_patch(merged: Any, chosen: str, sources: SourceMap) -> Any:
    """Return the chosen profile's patch; None where the recipe has no profiles and names the default one."""
    profiles = merged.get("profiles") or {}
    if chosen in profiles:
        return profiles[chosen]
    if not profiles and chosen == "lab":
        return None
    names = sorted(str(name) for name in profiles)
    close = difflib.get_close_matches(chosen, names, n=1)
    raise RecipeError(
        f"profile {chosen!r} is not in the recipe; it has: {', '.join(names) or 'none'}",
        where=sources.locate(("profile",)),
        fix=f"did you mean {close[0]!r}?" if close else "choose one of these, or add it under `profiles`",
    )


def _drop_nulls(resolved: dict[str, Any]) -> None:
    """Remove stages, domains and models that a profile or override set to null."""
    for section in ("stages", "domains", "models"):
        entries = resolved.get(section)
        if isinstance(entries, dict):
            resolved[section] = {name: entry for name, entry in entries.items() if entry is not None}


def _validate(resolved: dict[str, Any], sources: SourceMap, path: Path) -> Recipe:
    if "collegium" not in resolved:
        raise RecipeError(
            "a recipe must begin with `collegium: 1`, the version of its format", where=Location(str(path), 1)
        )
    try:
        return Recipe.model_validate(resolved)
    except ValidationError as error:
        raise RecipeError.of(list(problems_of(error, Recipe, (), sources))) from error
