"""The conformance kit on the three components: against the scripted endpoint and a trained checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from collegium.testing.conformance.check import checks_for
from collegium.testing.conformance.subject import Subject

OWNER = "collegium-verifier-judge"
CASES = [
    {"id": "right", "prompt": "2 + 2 = ?", "completion": "four", "reference": "four", "expected": 1},
    {"id": "wrong", "prompt": "2 + 2 = ?", "completion": "five", "reference": "four", "expected": 0},
]


def checks(kind: Any) -> Any:
    return pytest.mark.parametrize("check", [pytest.param(each, id=each.name) for each in checks_for(kind)])


def require(check: Any, subject: Subject) -> None:
    result = check.run(subject)
    if result.status == "not applicable":
        pytest.skip(result.reason)
    assert result.status == "passed", result.reason


@pytest.fixture(scope="module")
def judge(scripted: ModuleType) -> Iterator[Subject]:
    with scripted.serving() as server:
        options = {"endpoint": server.url, "model": "rule", "rubric": "Is it right?", "mode": "reference"}
        subject = Subject("verifier", f"{OWNER}/judge", options, CASES)
        yield subject
        subject.close()


@pytest.fixture(scope="module")
def options(measure: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder: Path = tmp_path_factory.mktemp("reward-model")
    measure.train_reward_model([measure.Pair("p", "?", "four", "five")] * 32, folder, epochs=2, width=32)
    return {"path": str(folder)}


@pytest.fixture(scope="module")
def reward_model(options: dict[str, Any]) -> Iterator[Subject]:
    subject = Subject("verifier", f"{OWNER}/reward-model", options, [{"id": "a", "prompt": "?", "completion": "four"}])
    yield subject
    subject.close()


@pytest.fixture(scope="module")
def reward_score(options: dict[str, Any]) -> Iterator[Subject]:
    subject = Subject("reward", f"{OWNER}/reward-model-score", options)
    yield subject
    subject.close()


@checks("verifier")
def test_judge(check: Any, judge: Subject) -> None:
    require(check, judge)


@checks("verifier")
def test_reward_model(check: Any, reward_model: Subject) -> None:
    require(check, reward_model)


@checks("reward")
def test_reward_model_score(check: Any, reward_score: Subject) -> None:
    require(check, reward_score)
