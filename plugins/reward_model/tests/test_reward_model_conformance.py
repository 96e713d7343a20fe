"""The conformance kit on the reward source, with a real checkpoint."""

from __future__ import annotations

import pytest

from collegium.testing.conformance.check import Check, checks_for
from collegium.testing.conformance.subject import Subject
from collegium.testing.stages import TOY_MODEL
from collegium.training.initialise import initialise
from collegium.training.model_spec import PRINTABLE_ASCII, ModelSpec
from collegium_reward_model.model import RewardModel

REWARD = "collegium-reward-model/reward-model"


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    folder = tmp_path_factory.mktemp("models")
    sizes = {**TOY_MODEL["sizes"], "max_position_embeddings": 4096}
    spec = ModelSpec(sizes=sizes, tokenizer={"characters": PRINTABLE_ASCII})
    initialise(spec, 0).save(folder / "base")
    RewardModel.start(str(folder / "base"), "cpu", 0).save(folder / "rm")
    return Subject("reward", REWARD, {"models": [str(folder / "rm")]})


@pytest.mark.parametrize("check", [pytest.param(each, id=each.name) for each in checks_for("reward")])
def test_the_reward_source_conforms(check: Check, subject: Subject):
    result = check.run(subject)
    assert result.status == "passed", result


@pytest.mark.parametrize("name", ["finite-rewards", "no-network", "same-in-fresh-process"])
def test_without_a_model_there_is_nothing_to_look_at(name: str):
    check = next(each for each in checks_for("reward") if each.name == name)
    result = check.run(Subject("reward", REWARD, {}))
    assert result.status == "not applicable"
    assert "pass options" in result.reason
