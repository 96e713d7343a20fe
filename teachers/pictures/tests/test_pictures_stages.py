"""Stages that train a model of text and pictures: they learn, and a killed one ends with the same numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from collegium import Use
from collegium.job import DomainSpec, StageEvent, StageJob
from collegium.testing.stages import TOY_MODEL, journal_of, run_and_kill, run_toy, toy_domain, toy_job, weights_of
from collegium.training.language_model import LanguageModel

MODEL = {
    "architecture": "llava",
    "sizes": {
        "text_config": {"model_type": "llama", **TOY_MODEL["sizes"]},
        "vision_config": {
            "model_type": "clip_vision_model", "hidden_size": 16, "intermediate_size": 32,
            "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 32, "patch_size": 16,
        },
    },
    "tokenizer": {"characters": " ?0123456789acdefghilmnorstwy#~=b"},
}  # fmt: skip
PRETRAIN = {"steps": 9, "batch": 12, "micro_batch": 5, "row_tokens": 48, "lr": 3e-3, "model": MODEL}
GRPO = {
    "steps": 6, "prompts": 4, "group": 3, "micro_batch": 5, "lr": 1e-3, "sampling": {"max_tokens": 3},
    "loss": {"use": "clipped", "kl_coefficient": 0.1, "importance": "tis"},
}  # fmt: skip


def pictures(name: str, **options: Any) -> DomainSpec:
    task = Use(use="collegium-teacher-pictures/pictures", options={"train": 60, "heldout": 15, **options})
    verifier = Use(use="collegium-verifier-math/math", options={"answer": "number"})
    return DomainSpec(name=name, task=task, verifier=verifier)


DOMAINS = [pictures("counting", kinds=["count"]), pictures("reading", kinds=["read"]), toy_domain("copy", length=2)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of text and pictures after a few steps on captions and text together."""
    job = toy_job("collegium-sft/pretrain", PRETRAIN, tmp_path_factory.mktemp("base") / "b", domains=DOMAINS)
    outcome = run_toy(job)
    assert outcome.status == "completed", outcome.problem
    return Path(job.directory) / "output" / "model"


def assert_resumes(use: str, options: dict[str, Any], folder: Path, base: Path, **fields: Any) -> None:
    """Check that a stage killed after step 5 of 6 or more, with checkpoints every 3, ends as one that was not."""
    jobs: list[StageJob] = []
    for name in ("whole", "killed"):
        inputs = {"init_from": base}
        job = toy_job(use, options, folder / name / "t", domains=DOMAINS, inputs=inputs, checkpoint_every=3, **fields)
        jobs.append(job)
    outcome = run_toy(jobs[0])
    assert outcome.status == "completed", outcome.problem
    assert run_and_kill(jobs[1], step=5) == -9
    events: list[StageEvent] = []
    second = run_toy(jobs[1], events=events)
    assert second.status == "completed", second.problem
    assert min(event.step for event in events if event.kind == "step") == 4
    one, other = weights_of(jobs[0]), weights_of(jobs[1])
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert journal_of(jobs[0]) == journal_of(jobs[1])


def test_captions_and_text_are_learnt_together(base):
    policy = LanguageModel.load(base)
    assert policy.vision is not None
    losses = [row["loss"] for row in journal_of_folder(base)]
    assert losses[-1] < losses[0]


def journal_of_folder(model: Path) -> list[dict[str, Any]]:
    job = toy_job("collegium-sft/pretrain", PRETRAIN, model.parent.parent, domains=DOMAINS)
    return journal_of(job)


def test_supervised_steps_on_pictures_resume(tmp_path, base):
    options = {"steps": 7, "batch": 9, "micro_batch": 4, "row_tokens": 48, "lr": 1e-3}
    assert_resumes("collegium-sft/sft", options, tmp_path, base)


@pytest.mark.parametrize("more", [{}, {"staleness": 2, "minibatches": 2}], ids=["in turn", "two batches ahead"])
def test_policy_gradient_steps_on_pictures_resume(tmp_path, base, more):
    assert_resumes("collegium-grpo/grpo", {**GRPO, **more}, tmp_path, base)


def test_the_handshake_holds_for_rows_with_and_without_pictures(tmp_path, base):
    options = {**GRPO, "steps": 2, "handshake": 1e-5}
    job = toy_job("collegium-grpo/grpo", options, tmp_path / "t", domains=DOMAINS, inputs={"init_from": base})
    outcome = run_toy(job)
    assert outcome.status == "completed", outcome.problem
    assert all(row["behaviour_gap"] < 1e-5 for row in journal_of(job))


def test_a_model_of_text_and_pictures_is_evaluated_on_both(tmp_path, base):
    job = toy_job("collegium-sft/sft", {}, tmp_path / "t", domains=DOMAINS, evaluate=True, train=False, model=str(base))
    outcome = run_toy(job)
    assert outcome.status == "completed", outcome.problem
    assert set(outcome.scores) == {"counting", "reading", "copy"}


def test_a_model_of_text_alone_is_told_what_it_lacks(tmp_path):
    text = {**PRETRAIN, "model": {**TOY_MODEL, "tokenizer": {"characters": MODEL["tokenizer"]["characters"] + "<>"}}}
    outcome = run_toy(toy_job("collegium-sft/pretrain", text, tmp_path / "t", domains=DOMAINS[:1]))
    assert outcome.status == "failed"
    assert outcome.problem is not None
    assert "reads text alone, and 120 of the prompts have pictures" in outcome.problem
    assert "architecture: llava" in outcome.problem
