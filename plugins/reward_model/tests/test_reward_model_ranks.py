"""Several ranks do what one process does, and leave what it leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from collegium.job import StageJob
from collegium.launch_config import LaunchConfig
from collegium.testing.ranks import run_toy_ranks
from collegium.testing.stages import journal_of, run_toy, toy_domain, toy_job, toy_model
from collegium_reward_model.model import STATISTICS_FILE, RewardModel

pytestmark = pytest.mark.slow

OPTIONS = {"steps": 4, "batch": 6, "micro_batch": 6, "lr": 3e-3, "heldout": 0.25, "evaluate_every": 2}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("base")
    toy_model().save(path)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rankings of three completions each."""
    path = tmp_path_factory.mktemp("data") / "rankings.jsonl"
    words = [f"{first}{last}" for first in "abcdef" for last in "abcd"]
    rows = [{"prompt": f"#{word}=", "completions": [word[0] * 3, word[0] + "#", "~~#~"]} for word in words]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def stage_job(directory: Path, base: Path, data: Path, **options: object) -> StageJob:
    options = {**OPTIONS, "data": [str(data)], **options}
    return toy_job("collegium-reward-model/reward-model", options, directory, domains=[], inputs={"init_from": base})


def model_of(job: StageJob) -> Path:
    return Path(job.directory) / "output" / "model"


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, base: Path, data: Path) -> StageJob:
    """What one process makes."""
    job = stage_job(tmp_path_factory.mktemp("alone") / "rm", base, data)
    assert run_toy(job).status == "completed"
    return job


def on_two_ranks(job: StageJob, strategy: str) -> StageJob:
    job = job.model_copy(update={"launch": LaunchConfig(strategy=strategy, processes=2)})
    outcome = run_toy_ranks(job)
    assert outcome.status == "completed", outcome.problem
    return job


def assert_same(job: StageJob, alone: StageJob) -> None:
    """Check that two ranks came to the numbers of one process and left the same kind of folder."""
    for mine, theirs in zip(journal_of(alone), journal_of(job), strict=True):
        assert theirs == pytest.approx(mine, rel=1e-3, abs=1e-4)
    weights, expected = (load_file(model_of(each) / "model.safetensors") for each in (job, alone))
    assert weights.keys() == expected.keys()
    for name, weight in expected.items():
        torch.testing.assert_close(weights[name], weight, atol=2e-4, rtol=1e-2)
    assert {file.name for file in model_of(job).iterdir()} == {file.name for file in model_of(alone).iterdir()}
    assert (model_of(job) / "config.json").read_text() == (model_of(alone) / "config.json").read_text()
    statistics, others = (json.loads((model_of(each) / STATISTICS_FILE).read_text()) for each in (job, alone))
    assert statistics == pytest.approx(others, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])
def test_two_ranks_do_what_one_process_does(tmp_path, base, data, alone, strategy):
    job = on_two_ranks(stage_job(tmp_path / "rm", base, data), strategy)
    assert_same(job, alone)
    head = AutoModelForSequenceClassification.from_pretrained(model_of(job)).score.weight
    assert torch.equal(head, RewardModel.load(model_of(job)).head)


def test_a_trained_reward_model_goes_on_with_its_own_head(tmp_path, alone, data):
    one, two = (stage_job(tmp_path / name / "rm", model_of(alone), data, steps=1) for name in ("one", "two"))
    assert run_toy(one).status == "completed"
    assert_same(on_two_ranks(two, "fsdp2"), one)


@pytest.mark.parametrize("offload", ["none", "cpu"])
def test_where_models_are_split_the_first_rank_scores_with_a_whole_one(tmp_path, base, alone, offload):
    options = {"steps": 2, "prompts": 4, "group": 4, "lr": 1e-3, "sampling": {"max_tokens": 6},
               "reward": {"use": "collegium-reward-model/reward-model", "offload": offload}}  # fmt: skip
    inputs = {"init_from": base, "reward_models": model_of(alone)}
    one, two = (
        toy_job("collegium-grpo/grpo", options, tmp_path / name / "rl", domains=[toy_domain("copy")], inputs=inputs)
        for name in ("one", "two")
    )
    outcome = run_toy(one)
    assert outcome.status == "completed", outcome.problem
    on_two_ranks(two, "fsdp2")
    for mine, theirs in zip(journal_of(one), journal_of(two), strict=True):
        assert theirs == pytest.approx(mine, rel=2e-3, abs=2e-4)
