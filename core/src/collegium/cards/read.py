"""Read the files beside a distribution's code, without importing it: ``card.yaml`` and ``measured.json``."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from collegium.cards.model import Card, ComponentCard
from collegium.component import Kind
from collegium.errors import PluginLoadError, Problem, RecipeError
from collegium.recipe.problems import problems_of
from collegium.recipe.source import read_yaml

CARD = "card.yaml"
LARGEST_CARD = 256 * 1024
"""Bytes of a card; parsing a far larger one would block every command."""
MEASURED = "measured.json"
CONFORMANCE = "conformance.json"


def package_folders(module: str) -> list[Path]:
    """Return where the top-level package of a module lies; finding it imports nothing."""
    try:
        spec = importlib.util.find_spec(module.partition(".")[0])
    except (ImportError, ValueError):
        return []
    return [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []


def package_file(module: str, name: str) -> Path | None:
    """Return a file of the package that a module belongs to, if it has it."""
    return next((folder / name for folder in package_folders(module) if (folder / name).is_file()), None)


def read_card(module: str, owner: str) -> Card | None:
    """Return a distribution's card, or None if it has none.

    Args:
        module: Its entry-point module.
        owner: The distribution, for the error.

    Raises:
        PluginLoadError: If the card cannot be read or is malformed; every fault with file, line and the nearest key.
    """
    path = package_file(module, CARD)
    if path is None:
        return None
    try:
        size = path.stat().st_size
    except OSError as error:
        raise PluginLoadError(f"card: {path} cannot be read: {error}", owner=owner) from error
    if size > LARGEST_CARD:
        raise PluginLoadError(
            f"card: {path} has {size:,} bytes, expected at most {LARGEST_CARD:,}", fix="shorten it", owner=owner
        )
    try:
        content, sources = read_yaml(path)
    except RecipeError as error:
        (problem,) = error.problems
        what = f"card: {problem.what.replace('a recipe', 'a card')}"
        raise PluginLoadError(what, fix=problem.fix, owner=owner, where=problem.where) from error
    try:
        return Card.model_validate(content)
    except ValidationError as error:
        found = list(problems_of(error, Card, (), sources, owner=owner))
        raise PluginLoadError.of([Problem(f"card: {p.what}", p.fix, owner, p.where) for p in found]) from error


def card_entry(card: Card | None, kind: Kind, name: str) -> ComponentCard | None:
    """Return what a card says of a component (by its short name)."""
    return card.components.get(f"{kind}/{name}") if card else None


def read_measured(module: str, owner: str) -> Any:
    """Return a distribution's measured error rates, or None if it has none.

    Raises:
        PluginLoadError: If the file is no JSON.
    """
    path = package_file(module, MEASURED)
    if path is None:
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise PluginLoadError(f"{path} cannot be read: {error}", fix="measure again", owner=owner) from error
