"""The stage `mopd`: many teachers, one student, nothing by default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from collegium.component import Use
from collegium.job import StageEvent, StageJob
from collegium.launch_config import LaunchConfig
from collegium.plugins.registry import Registry
from collegium.testing.ranks import run_toy_ranks
from collegium.testing.stages import (
    TOY_MODEL,
    journal_of,
    run_and_kill,
    run_toy,
    toy_domain,
    toy_job,
    toy_model,
    toy_registry,
    weights_of,
)
from collegium.training.initialise import initialise
from collegium.training.language_model import LanguageModel
from collegium.training.model_spec import ModelSpec
from collegium.training.packing import indices_of_step
from collegium.training.supervised import supervised_step
from collegium.training.supervised_config import SupervisedConfig
from collegium.training.supervised_data import demonstration_examples
from collegium.training.trainer import Trainer

MOPD = {"steps": 6, "prompts": 24, "lr": 3e-3, "sampling": {"max_tokens": 6}}
DOMAINS = ("copy", "reverse")


def imitate(model: LanguageModel, right: dict[str, float], steps: int) -> None:
    """Fine-tune on demonstrations of the domains, so many of them right."""
    examples = []
    for name, share in right.items():
        domain = toy_domain(name, right=share)
        source = toy_registry().build("task", domain.task.use, domain.task.options)
        examples += demonstration_examples(model.tokenizer, source.demonstrations())
    config = SupervisedConfig(lr=3e-3, row_tokens=48)
    trainer = Trainer(model, config, steps)
    for step in range(1, steps + 1):
        supervised_step(trainer, [examples[i] for i in indices_of_step(step, 64, len(examples), seed=0)], config)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A start that does the right thing in half of the cases, and for each domain a teacher that always does."""
    folder = tmp_path_factory.mktemp("models")
    start = initialise(ModelSpec(**TOY_MODEL), 0)
    imitate(start, dict.fromkeys(DOMAINS, 0.5), 200)
    start.save(folder / "start")
    for name in DOMAINS:
        teacher = LanguageModel.load(folder / "start")
        imitate(teacher, {name: 1.0}, 120)
        teacher.save(folder / name)
    return {name: folder / name for name in ("start", *DOMAINS)}


def mopd_job(
    directory: Path, models: dict[str, Path], teachers: dict[str, Path] | None = None, **options: Any
) -> StageJob:
    named = {name: models[name] for name in DOMAINS} if teachers is None else teachers
    uses = {name: Use(use="collegium/checkpoint", options={"path": str(path)}) for name, path in named.items()}
    return toy_job(
        "collegium-mopd/mopd",
        {**MOPD, **options},
        directory,
        domains=[toy_domain(name) for name in DOMAINS],
        inputs={"init_from": models["start"]},
        teachers=uses,
    )


def headroom(job: StageJob, models: dict[str, Path]) -> dict[str, float]:
    """Return the share of the way from start to teacher that the trained student went, per domain."""

    def scores(model: Path) -> dict[str, float]:
        update = {"train": False, "model": str(model), "evaluate_on": job.domains, "directory": job.directory + "-eval"}
        return run_toy(job.model_copy(update=update)).scores

    start, student = scores(models["start"]), scores(Path(job.directory) / "output" / "model")
    teacher = {name: scores(models[name])[name] for name in DOMAINS}
    assert all(teacher[name] > start[name] + 0.2 for name in DOMAINS)
    return {name: (student[name] - start[name]) / (teacher[name] - start[name]) for name in DOMAINS}


@pytest.mark.parametrize("loss", ["reverse-kl", "sampled-token", {"use": "top-k", "k": 6}])
def test_the_student_becomes_as_good_as_each_teacher(tmp_path, models, loss):
    job = mopd_job(tmp_path / "student", models, loss=loss, steps=120, prompts=128, lr=1e-3)
    outcome = run_toy(job)
    assert outcome.status == "completed", outcome.problem
    assert min(headroom(job, models).values()) >= 0.9
    assert outcome.metrics["share/rows/copy"] == 0.5


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"loss": "sampled-token", "outcome_weight": 0.5, "group": 3, "epochs": 2},
        {"staleness": 2},
        {"staleness": 1, "loss": "sampled-token", "outcome_weight": 0.5, "group": 3},
    ],
    ids=["reverse-kl", "sampled-token", "reverse-kl, two batches ahead", "sampled-token, one batch ahead"],
)
def test_a_killed_stage_ends_with_the_numbers_of_one_that_was_not(tmp_path, models, options):
    whole = mopd_job(tmp_path / "whole" / "m", models, steps=9, **options)
    killed = mopd_job(tmp_path / "killed" / "m", models, steps=9, **options).model_copy(update={"checkpoint_every": 4})
    first = run_toy(whole)
    assert first.status == "completed", first.problem
    assert run_and_kill(killed, step=7) == -9
    events: list[StageEvent] = []
    assert run_toy(killed, events=events).rollouts == first.rollouts
    assert [event.step for event in events if event.kind == "step"] == list(range(5, 10))
    one, other = weights_of(whole), weights_of(killed)
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert journal_of(whole) == journal_of(killed)


@pytest.mark.parametrize("loss", ["reverse-kl", "sampled-token"])
def test_two_ranks_run_ahead_with_the_numbers_of_one_process(tmp_path, models, loss):
    options = {"staleness": 2, "loss": loss, "prompts": 7, "steps": 4, "lr": 3e-4}
    one = mopd_job(tmp_path / "one" / "m", models, **options)
    two = mopd_job(tmp_path / "two" / "m", models, **options)
    two = two.model_copy(update={"launch": LaunchConfig(strategy="ddp", processes=2)})
    assert run_toy(one).status == "completed"
    outcome = run_toy_ranks(two)
    assert outcome.status == "completed", outcome.problem
    for expected, found in zip(journal_of(one), journal_of(two), strict=True):
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("loss", ["reverse-kl", "sampled-token"])
def test_the_student_as_its_own_teacher_does_not_move(tmp_path, models, loss):
    itself = dict.fromkeys(DOMAINS, models["start"])
    job = mopd_job(tmp_path / "student", models, itself, loss=loss, steps=1)
    assert run_toy(job).status == "completed"
    (row,) = journal_of(job)
    assert row["grad_norm"] < 1e-5
    assert abs(row["loss"]) < 1e-6


def test_a_domain_without_a_teacher_stops_before_the_first_update(tmp_path, models):
    outcome = run_toy(mopd_job(tmp_path / "student", models, {"copy": models["copy"]}))
    assert (outcome.status, outcome.kind) == ("failed", "TeacherError")
    assert "names 'reverse', which is no teacher of the stage; its teachers: copy" in outcome.problem


def test_a_teacher_with_another_tokenizer_stops_the_stage_before_any_rollout(tmp_path, models):
    other = {**TOY_MODEL, "tokenizer": {"characters": "fedcba#~="}}
    initialise(ModelSpec(**other), 0).save(tmp_path / "other")
    outcome = run_toy(mopd_job(tmp_path / "student", models, {"copy": models["copy"], "reverse": tmp_path / "other"}))
    assert (outcome.kind, outcome.rollouts) == ("TeacherError", 0)
    assert (
        "teacher 'reverse' has another tokenizer than the student: token id 2 is 'a' here and 'f' there"
        in outcome.problem
    )


def test_a_teacher_folder_that_is_no_checkpoint_is_named(tmp_path, models):
    (tmp_path / "empty").mkdir()
    outcome = run_toy(mopd_job(tmp_path / "student", models, {"copy": models["copy"], "reverse": tmp_path / "empty"}))
    assert outcome.kind == "TeacherError"
    assert str(tmp_path / "empty") in outcome.problem


def test_the_outcome_term_counts_as_its_weight_says(tmp_path, models):
    itself = dict.fromkeys(DOMAINS, models["start"])
    options = {"loss": "sampled-token", "group": 4, "steps": 1, "prompts": 8}
    norms = []
    for weight in (0.5, 1.0):
        job = mopd_job(tmp_path / str(weight), models, itself, outcome_weight=weight, **options)
        outcome = run_toy(job.model_copy(update={"id": "same"}))
        assert outcome.status == "completed", outcome.problem
        norms.append(journal_of(job)[0]["grad_norm"])
    assert norms[1] == pytest.approx(2 * norms[0], rel=1e-3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"outcome_weight": 0.5, "group": 4}, "the loss 'collegium-mopd/reverse-kl' reads no advantage"),
        ({"outcome_weight": 0.5, "loss": "sampled-token"}, "group is 1"),
        (
            {"advantages": [{"use": "distill", "clip": 20.0}]},
            "the loss 'collegium-mopd/reverse-kl' reads no advantage, such as distill",
        ),
    ],
)
def test_options_that_would_do_nothing_are_refused(tmp_path, models, options, said):
    outcome = run_toy(mopd_job(tmp_path / "student", models, **options))
    assert (outcome.kind, outcome.owner) == ("ConfigError", "collegium-mopd")
    assert said in outcome.problem


def test_a_mean_over_sequences_with_balance_gives_each_domain_its_share(tmp_path, models):
    sampler = {"use": "stratified", "shares": {"copy": 3, "reverse": 1}}
    job = mopd_job(tmp_path / "student", models, sampler=sampler, steps=1)
    assert run_toy(job).status == "completed"
    (row,) = journal_of(job)
    assert row["share/rows/copy"] == 0.75
    balanced = (row["kl/copy"], row["kl/reverse"])
    assert min(balanced) > 0


def test_the_stage_is_planned_without_torch_and_knows_its_edges():
    config = Registry.discover().find("stage", "mopd").config_class()
    assert config.requires == {"init_from", "teachers"}
    assert toy_model().context_length == 64
