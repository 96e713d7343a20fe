"""Two ranks train a model of text and pictures to the numbers of one, though one of them may see no picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from collegium import Use
from collegium.job import DomainSpec, StageJob
from collegium.launch_config import LaunchConfig
from collegium.testing.ranks import run_toy_ranks
from collegium.testing.stages import TOY_MODEL, journal_of, run_toy, toy_domain, toy_job, weights_of
from collegium.training.initialise import initialise
from collegium.training.model_spec import ModelSpec

pytestmark = pytest.mark.slow

VISION = {
    "model_type": "clip_vision_model", "hidden_size": 16, "intermediate_size": 32,
    "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 32, "patch_size": 16,
}  # fmt: skip
SPEC = ModelSpec(
    architecture="llava",
    sizes={"text_config": {"model_type": "llama", **TOY_MODEL["sizes"]}, "vision_config": VISION},
    tokenizer={"characters": " ?0123456789acdefghilmnorstwy#~=b"},
)
# Micro-batches of like length: those of short rows have text alone.
SFT = {"steps": 4, "batch": 9, "micro_batch": 2, "row_tokens": 48, "lr": 1e-3, "layout": "length-grouped"}
GRPO = {
    "steps": 2, "prompts": 5, "group": 2, "micro_batch": 2, "lr": 1e-3, "sampling": {"max_tokens": 3},
    "loss": {"use": "clipped", "kl_coefficient": 0.1},
}  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that is right now and then, so that rewards differ and the gradient is more than rounding."""
    folder = tmp_path_factory.mktemp("base")
    initialise(SPEC, 0).save(folder / "start")
    options = {"steps": 100, "batch": 24, "row_tokens": 48, "lr": 5e-3}
    job = job_of("collegium-sft/sft", options, folder / "sft", folder / "start", LaunchConfig())
    outcome = run_toy(job)
    assert outcome.status == "completed", outcome.problem
    return Path(job.directory) / "output" / "model"


def job_of(use: str, options: dict[str, Any], folder: Path, base: Path, launch: LaunchConfig) -> StageJob:
    task = Use(use="collegium-teacher-pictures/pictures", options={"kinds": ["count"], "train": 30, "heldout": 5})
    verifier = Use(use="collegium-verifier-math/math", options={"answer": "number"})
    domains = [DomainSpec(name="counting", task=task, verifier=verifier), toy_domain("copy", length=2)]
    return toy_job(use, options, folder, domains=domains, inputs={"init_from": base}, id="stage", launch=launch)


@pytest.mark.parametrize(
    ("strategy", "use", "options"),
    [("ddp", "collegium-sft/sft", SFT), ("fsdp2", "collegium-sft/sft", SFT), ("ddp", "collegium-grpo/grpo", GRPO)],
    ids=["sft under ddp", "sft under fsdp2", "grpo under ddp"],
)
def test_two_ranks_come_to_the_numbers_of_one(tmp_path, base, strategy, use, options):
    alone = job_of(use, options, tmp_path / "alone", base, LaunchConfig())
    outcome = run_toy(alone)
    assert outcome.status == "completed", outcome.problem
    launch = LaunchConfig.model_validate({"strategy": strategy, "processes": 2})
    spread = job_of(use, options, tmp_path / "spread", base, launch)
    outcome = run_toy_ranks(spread)
    assert outcome.status == "completed", outcome.problem
    ours, theirs = journal_of(spread), journal_of(alone)
    assert [row["loss"] for row in ours] == pytest.approx([row["loss"] for row in theirs], abs=2e-5)
    assert all(row["grad_norm"] > 1e-2 for row in theirs)
    found, wanted = weights_of(spread), weights_of(alone)
    for name, weight in wanted.items():
        torch.testing.assert_close(found[name], weight, atol=2e-5, rtol=2e-5, msg=name)
