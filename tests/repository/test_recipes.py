"""Every recipe plans."""

from __future__ import annotations

from pathlib import Path

import pytest

from collegium.planning import make_plan
from collegium.recipe import load_recipe
from collegium.recipe.source import read_yaml

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))


def test_there_is_the_quick_start():
    assert "quickstart.yaml" in [path.name for path in RECIPES]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_plans_in_each_of_its_profiles(path, installed_registry):
    profiles = read_yaml(path)[0].get("profiles", {"lab": {}})
    for profile in profiles:
        plan = make_plan(load_recipe(path, profile=profile), installed_registry)
        assert plan.recipe.name == path.stem
        assert all(stage.fingerprint for stage in plan.stages.values())


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_says_what_it_is_in_at_most_ten_lines(path):
    lines = path.read_text().splitlines()
    header = [line for line in lines[: next(i for i, line in enumerate(lines) if not line.startswith("#"))]]
    assert 1 <= len(header) <= 10
