"""The README's recipes plan, and another text or reward model is another policy."""

from __future__ import annotations

from pathlib import Path

import pytest

from collegium.errors import RecipeError
from collegium.planning import make_plan
from collegium.planning.plan import Plan
from collegium.plugins import Registry
from collegium.recipe import load_recipe

README = Path(__file__).parents[1] / "README.md"
INSTRUCTGPT, TULU = (part.partition("```")[0] for part in README.read_text(encoding="utf-8").split("```yaml\n")[1:3])


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("preferences.jsonl").write_text('{"prompt": "a", "chosen": "x", "rejected": "y"}\n')
    Path("corpus.txt").write_text("a text\n")


def planned(text: str) -> Plan:
    Path("recipe.yaml").write_text(text)
    return make_plan(load_recipe(Path("recipe.yaml")), Registry.discover())


def test_the_instructgpt_recipe_plans():
    stage = planned(INSTRUCTGPT).stages["rl"]
    assert stage.node.inputs == {"init_from": ["sft"], "reward_models": ["rm"]}
    assert stage.options["reward"]["use"] == "collegium-reward-model/reward-model"
    assert stage.options["pretraining"]["weight"] == 27.8


def test_the_tulu_recipe_plans():
    stage = planned(TULU).stages["rlvr"]
    assert stage.node.inputs == {"init_from": ["sft"], "reward_models": ["rm"]}
    assert stage.options["reward"]["use"] == "collegium/domain-verifier"
    assert (stage.options["missing_eos"], stage.options["score_scale"]) == (-10, 10)


def test_another_text_is_another_policy():
    text = INSTRUCTGPT.replace("base: {use: pretrain, text: corpus.txt,", "base: {use: pretrain,")
    before = planned(text).stages
    Path("corpus.txt").write_text("another text\n")
    after = planned(text).stages
    assert [name for name, stage in before.items() if stage.fingerprint != after[name].fingerprint] == ["rl"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("    missing_eos: -10\n", "    missing_eos: -10\n    staleness: 1\n", "corrects nothing for that"),
        ("    missing_eos: -10\n", "    missing_eos: -10\n    data_from: rm\n", "takes no `data_from`"),
        ("    lr: 3.0e-7\n", "    pretraining: {text: nowhere.txt}\n", "nowhere.txt"),
        ("    kl_coefficient: 0.05\n", "    kl_coefficient: 0\n    kl_target: 6\n", "multiplies kl_coefficient"),
    ],
)
def test_a_fault_is_found_by_the_plan(old, new, said):
    assert old in TULU
    with pytest.raises(RecipeError) as caught:
        planned(TULU.replace(old, new))
    assert said in str(caught.value)
