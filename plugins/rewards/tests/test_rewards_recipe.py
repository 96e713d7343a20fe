"""Recipes: parts are resolved, validated and fingerprinted wherever they stand, and the README's plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from collegium.errors import RecipeError
from collegium.planning import make_plan
from collegium.planning.plan import Plan
from collegium.plugins import Registry
from collegium.recipe import load_recipe

README = Path(__file__).parents[1] / "README.md"
RECIPE = README.read_text(encoding="utf-8").partition("```yaml\n")[2].partition("```")[0]


@pytest.fixture(autouse=True)
def preferences(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("preferences.jsonl").write_text('{"prompt": "a", "chosen": "x", "rejected": "y"}\n')


def planned(*replacements: tuple[str, str]) -> Plan:
    text = RECIPE
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    Path("recipe.yaml").write_text(text)
    return make_plan(load_recipe(Path("recipe.yaml")), Registry.discover())


def test_the_readmes_recipe_plans_with_every_part_resolved():
    stage = planned().stages["rl"]
    reward = stage.options["reward"]
    assert reward["use"] == "collegium-rewards/toggle-length"
    inside = reward["options"]["reward"]
    assert inside["use"] == "collegium-rewards/composed"
    parts = inside["options"]["parts"]
    assert parts["right"]["reward"]["use"] == "collegium/domain-verifier"
    assert parts["latin"]["verifier"]["use"] == "collegium-verifier-format/language"
    assert parts["latin"]["verifier"]["options"]["min_share"] == 0.95  # completed with its defaults
    assert parts["helpful"]["reward"]["use"] == "collegium-reward-model/reward-model"
    assert stage.options["engine"]["options"]["engine"]["use"] == "collegium/transformers"
    used = {"reward:collegium/domain-verifier", "verifier:collegium-verifier-format/language",
            "reward:collegium-reward-model/reward-model", "engine:collegium/transformers"}  # fmt: skip
    assert used <= set(stage.components)
    assert "collegium-verifier-format" in stage.packages


def test_another_option_of_a_part_is_another_policy():
    before, after = planned().stages, planned(("scripts: [Latin]", "scripts: [Greek]")).stages
    changed = [name for name, stage in before.items() if stage.fingerprint != after[name].fingerprint]
    assert changed == ["rl"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("scripts: [Latin]", "scirpts: [Latin]", "scirpts"),
        ("use: language", "use: langauge", "unknown verifier 'langauge'"),
        ("weight: 0.1", "wieght: 0.1", "wieght"),
        ("math: [right, latin]", "math: [wrong, latin]", "per names wrong"),
        ("limits: {1: 64, 20: 128}", "limits: {1: 64, 20: 32}", "must begin with step 1 and grow"),
    ],
)
def test_a_fault_of_a_part_is_found_by_the_plan_with_its_place(old, new, said):
    with pytest.raises(RecipeError) as caught:
        planned((old, new))
    assert said in str(caught.value)
    assert "recipe.yaml:" in str(caught.value)
