"""Every recipe plans in each of its profiles, and fits the devices that the profile names."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import pytest

from collegium.planning import Plan, make_plan
from collegium.planning.estimate import estimate
from collegium.recipe import load_recipe
from collegium.recipe.source import read_yaml

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))
PROFILES = [
    pytest.param(path, profile, id=f"{path.stem}-{profile}")
    for path in RECIPES
    for profile in sorted({"lab", *read_yaml(path)[0].get("profiles", {})})
]
LIBRARIES = ("vllm", "ray", "deepspeed", "peft", "submitit")
"""What optional parts of the members ask for. Planning looks for their metadata and imports none of them."""


@pytest.fixture
def planned(installed_registry, tmp_path, monkeypatch):
    """Return a function that plans a recipe where every optional library is installed, as far as a plan can tell."""
    for name in LIBRARIES:
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            folder = tmp_path / f"{name}-999.dist-info"
            folder.mkdir()
            (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 999\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    def plan(path: Path, profile: str | None = None) -> Plan:
        return make_plan(load_recipe(path, profile=profile), installed_registry)

    return plan


def test_there_is_the_quick_start_at_three_sizes():
    assert "quickstart.yaml" in [path.name for path in RECIPES]
    assert {"quickstart-lab", "quickstart-node", "quickstart-cluster"} <= {case.id for case in PROFILES}


@pytest.mark.parametrize(("path", "profile"), PROFILES)
def test_a_recipe_plans_in_each_of_its_profiles(path, profile, planned):
    plan = planned(path, profile)
    assert plan.recipe.name == path.stem
    assert plan.recipe.profile == profile
    assert all(stage.fingerprint for stage in plan.stages.values())


@pytest.mark.parametrize(("path", "profile"), PROFILES)
def test_every_profile_has_the_same_stages(path, profile, planned):
    assert stages_of(planned(path, profile)) == stages_of(planned(path))


def stages_of(plan: Plan) -> set[str]:
    """Return the names of a plan's stages; how many rounds a group has is a matter of size."""
    return {re.sub(r"-r\d+-", "-rN-", name) for name in plan.stages}


def test_there_are_the_recipes_of_the_fields_history():
    sizes = {path.stem: set(read_yaml(path)[0]["profiles"]) for path in RECIPES}
    assert len(sizes) == 17
    assert all(found & {"node", "cluster"} for found in sizes.values())


@pytest.mark.parametrize(("path", "profile"), PROFILES)
def test_every_stage_that_trains_is_estimated_and_fits_its_device(path, profile, planned):
    for name, needs in estimate(planned(path, profile)).items():
        if "stage" in needs.unknown:
            continue  # it takes no optimizer steps
        if needs.ranks > 1:
            assert needs.capacity is not None, f"{name}: give launch.device_memory_gb"
        assert needs.total is not None, needs.unknown
        assert needs.warning is None, f"{name}: {needs.warning}"
        capacity = needs.capacity
        assert capacity is None or needs.total <= capacity, f"{name}: {needs.total} of {capacity}"


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_says_what_it_is_in_at_most_ten_lines(path):
    lines = path.read_text().splitlines()
    header = [line for line in lines[: next(i for i, line in enumerate(lines) if not line.startswith("#"))]]
    assert 1 <= len(header) <= 10
