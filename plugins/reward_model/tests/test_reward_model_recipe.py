"""Recipes: the README's plan, rounds give each round's reward models, and faults are found before anything runs."""

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


def problem(*replacements: tuple[str, str]) -> str:
    with pytest.raises(RecipeError) as caught:
        planned(*replacements)
    return str(caught.value)


def test_the_readmes_recipe_plans():
    plan = planned()
    assert plan.stages["rl"].node.inputs == {"init_from": ["sft"], "reward_models": ["helpful"]}
    assert plan.stages["rl"].options["reward"]["use"] == "collegium-reward-model/reward-model"


def test_another_preference_is_another_reward_model_and_another_policy():
    before = planned().stages
    Path("preferences.jsonl").write_text('{"prompt": "a", "chosen": "y", "rejected": "x"}\n')
    after = planned().stages
    changed = [name for name, stage in before.items() if stage.fingerprint != after[name].fingerprint]
    assert changed == ["helpful", "rl"]


def test_two_reward_models_are_given_in_order():
    second = "  safe: {use: reward-model, init_from: helpful, data: [preferences.jsonl]}\n  rl:"
    gated = "reward: {use: reward-model, combine: gated, output: whitened}"
    plan = planned(
        ("  rl:", second),
        ("reward: {use: reward-model, output: normalised}", gated),
        ("reward_models: helpful", "reward_models: [helpful, safe]"),
    )
    assert plan.stages["rl"].node.inputs["reward_models"] == ["helpful", "safe"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (", reward_models: helpful", "", "rl.reward: scores with 1 reward models, found 0"),
        ("reward_models: helpful", "reward_models: [helpful, helpful]", "scores with 1 reward models, found 2"),
        ("output: normalised", "combine: gated", "scores with 2 reward models, found 1"),
        ("  rl:", "  odd: {use: sft, init_from: sft, data_from: helpful}\n  rl:", "which `data_from` cannot take"),
        ("init_from: sft, reward:", "init_from: sft, reference: helpful, reward:", "which `reference` cannot take"),
        ("steps: 200}\n  helpful", "steps: 200, reward_models: helpful}\n  helpful", "takes no `reward_models`"),
        ("[preferences.jsonl]", "[nowhere.jsonl]", "nowhere.jsonl"),
    ],
)
def test_a_fault_is_found_by_the_plan(old, new, said):
    assert said in problem((old, new))
