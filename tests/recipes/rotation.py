"""Which recipe a CI run trains: each that has a record of itself, in its turn.

Left out are those of ten teachers or more, which take too long.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from pathlib import Path

from collegium.recipe import load_recipe
from collegium.recipe.expand import Expansion
from tests.recipes.execute import PROFILE
from tests.recipes.record import read_records, recipe_digest, recipes

VARIABLE = "COLLEGIUM_RECIPES"
"""Environment variable that names the recipes to run instead, separated by commas."""
MOST_TEACHERS = 9


def teachers(path: Path) -> int:
    """Return the teachers of the recipe's largest consolidation, live or as makers of its data."""
    nodes = Expansion(load_recipe(path, profile=PROFILE)).nodes
    generating = {model for node in nodes for model in node.inputs.get("generate_from", [])}
    return max([len(generating), *(len(node.teachers) for node in nodes)])


def turn(names: Sequence[str], day: datetime.date) -> str:
    """Return the recipe whose turn a day is."""
    return sorted(names)[day.toordinal() % len(names)]


def chosen() -> list[Path]:
    """Return the recipes to run: those that the environment names, else today's."""
    every = recipes()
    if named := os.environ.get(VARIABLE):
        return [every[name.strip()] for name in named.split(",")]
    ready = [name for name, path in every.items() if is_recorded(path) and teachers(path) <= MOST_TEACHERS]
    return [every[turn(ready, datetime.datetime.now(datetime.UTC).date())]] if ready else []


def is_recorded(path: Path) -> bool:
    """Tell whether there is a record of the recipe as it stands, which a run can be held against."""
    record = read_records().get(path.stem)
    return record is not None and record["digest"] == recipe_digest(path)
