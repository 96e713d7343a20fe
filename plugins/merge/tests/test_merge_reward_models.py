"""Reward models are merged by their own stage, head included."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from collegium.job import InputArtifact, StageOutcome
from collegium.testing.stages import run_toy, toy_job, toy_model


@pytest.fixture(scope="module")
def rewards(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two reward models, whose config still ties an LM head that they do not have."""
    folder, start = tmp_path_factory.mktemp("rewards"), toy_model()
    config = start.model.config
    config.num_labels = 1
    for seed, name in enumerate(("one", "two")):
        torch.manual_seed(seed)
        AutoModelForSequenceClassification.from_config(config).save_pretrained(folder / name)
        start.tokenizer.save_pretrained(folder / name)
    return {name: folder / name for name in ("one", "two")}


def merge(use: str, directory: Path, models: dict[str, Path]) -> StageOutcome:
    job = toy_job(f"collegium-merge/{use}", {}, directory, domains=[])
    inputs = [InputArtifact(source=name, path=str(path)) for name, path in models.items()]
    return run_toy(job.model_copy(update={"inputs": {"average_of": inputs}}))


def test_an_average_of_reward_models_is_one_with_the_mean_head(tmp_path, rewards):
    outcome = merge("merge-reward-model", tmp_path / "m", rewards)
    assert outcome.status == "completed", outcome.problem
    one, two = (load_file(path / "model.safetensors") for path in rewards.values())
    merged = AutoModelForSequenceClassification.from_pretrained(tmp_path / "m" / "output" / "model")
    assert merged.config.num_labels == 1
    assert torch.allclose(merged.score.weight, (one["score.weight"] + two["score.weight"]) / 2)


def test_each_stage_refuses_the_other_kind(tmp_path, rewards):
    outcome = merge("merge", tmp_path / "m", rewards)
    assert outcome.kind == "RecipeError"
    assert "leaves a model, and 'one' is a LlamaForSequenceClassification" in outcome.problem
    toy_model().save(tmp_path / "language")
    outcome = merge("merge-reward-model", tmp_path / "r", {"language": tmp_path / "language"})
    assert "leaves a reward_model, and 'language' is a LlamaForCausalLM" in outcome.problem
