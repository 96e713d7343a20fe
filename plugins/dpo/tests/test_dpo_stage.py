"""The stage: discovered and planned, learning on held-out pairs, restartable after a real kill, strict about data."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from collegium.job import InputArtifact, StageEvent, StageJob
from collegium.plugins.registry import Registry
from collegium.testing.stages import (
    journal_of,
    run_and_kill,
    run_toy,
    toy_domain,
    toy_job,
    toy_model,
    toy_registry,
    weights_of,
)
from collegium.training.context import StageContext
from collegium.training.language_model import LanguageModel
from collegium.training.packing import Example, indices_of_step
from collegium.training.seeds import derive
from collegium.training.supervised import supervised_step
from collegium.training.supervised_config import SupervisedConfig
from collegium.training.supervised_data import to_example
from collegium.training.trainer import Trainer
from collegium_dpo.data import gather
from collegium_dpo.scores import score_sequences
from collegium_dpo.stage import DpoStage

WORDS = ["".join(letters) for letters in itertools.product("abcdef", repeat=3) if letters[0] != letters[2]]
PAIRS = [{"prompt": f"#{word}=", "chosen": word, "rejected": word[::-1]} for word in WORDS]
DPO = {"steps": 20, "lr": 5e-4, "batch": 32, "micro_batch": 8, "heldout": 30}
NONE = torch.tensor([], dtype=torch.long)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that answers either way, as likely as not."""
    model = toy_model()
    both = [
        to_example(model.tokenizer, row["prompt"], row[side], "") for row in PAIRS for side in ("chosen", "rejected")
    ]
    config = SupervisedConfig(lr=5e-3, row_tokens=48, schedule="linear", steps=150)
    trainer = Trainer(model, config, config.steps)
    for step in range(config.steps):
        chosen: Sequence[Example] = [both[(step * 61 + index * 7) % len(both)] for index in range(64)]
        supervised_step(trainer, chosen, config)
    path = tmp_path_factory.mktemp("base")
    model.save(path)
    return path


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("pairs") / "pairs.jsonl", PAIRS)


def write(file: Path, rows: Sequence[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def dpo_job(directory: Path, base: Path, data: Path | None, **options: Any) -> StageJob:
    options = {**DPO, "data": str(data) if data else None, **options}
    return toy_job("collegium-dpo/dpo", options, directory, domains=[], inputs={"init_from": base})


def test_the_stage_is_found_through_its_entry_point():
    assert Registry.discover().find("stage", "dpo").id == "collegium-dpo/dpo"


def test_planning_imports_no_torch():
    code = (
        "import sys, collegium_dpo.plugin, collegium_dpo.config, collegium_dpo.pairs; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


LOSSES = [
    {"use": "dpo"},
    {"use": "dpo", "beta": 5.0, "length_normalise": True},
    {"use": "dpo", "nll": 0.2, "mask_formatting": True},
    {"use": "ipo"},
    {"use": "kto", "beta": 0.5},
    {"use": "orpo"},
    {"use": "simpo"},
]


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: "-".join(map(str, loss.values())))
def test_training_raises_margin_and_accuracy_on_pairs_kept_aside_and_keeps_the_chosen_likely(
    tmp_path, base, pairs, loss
):
    job = dpo_job(tmp_path / "s", base, pairs, loss=loss)
    outcome = run_toy(job)
    assert outcome.status == "completed", outcome.problem
    first, last = journal_of(job)[0], outcome.metrics
    assert last["heldout/accuracy"] >= 0.9 > first["heldout_before/accuracy"]
    assert last["heldout/margin"] > first["heldout_before/margin"]
    assert last["heldout/chosen_change"] > 0 > last["heldout/rejected_change"]
    assert last["chosen_collapsed"] == 0.0
    assert (last["chosen_tokens"], last["rejected_tokens"]) == ((3, 3) if loss.get("mask_formatting") else (4, 4))


@pytest.mark.parametrize("loss", ["dpo", "kto"])
def test_a_killed_stage_ends_with_the_numbers_of_one_that_was_not(tmp_path, base, pairs, loss):
    whole = dpo_job(tmp_path / "whole" / "dpo", base, pairs, loss=loss)
    killed = dpo_job(tmp_path / "killed" / "dpo", base, pairs, loss=loss).model_copy(update={"checkpoint_every": 5})
    assert run_toy(whole).status == "completed"
    assert run_and_kill(killed, step=13) == -9
    events: list[StageEvent] = []
    assert run_toy(killed, events=events).status == "completed"
    assert [event.step for event in events if event.kind == "step"] == list(range(11, 21))
    one, other = weights_of(whole), weights_of(killed)
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert journal_of(whole) == journal_of(killed)


def test_the_reference_is_loaded_once_and_not_again_on_resume(tmp_path, base, pairs, monkeypatch):
    loads: list[str] = []
    load = DpoStage._load_reference
    monkeypatch.setattr(DpoStage, "_load_reference", lambda *rest: (loads.append("once"), load(*rest))[1])
    job = dpo_job(tmp_path / "s", base, pairs, steps=7)
    assert run_toy(job.model_copy(update={"checkpoint_every": 5})).status == "completed"
    assert loads == ["once"]
    assert run_toy(job.model_copy(update={"checkpoint_every": 5})).status == "completed"  # goes on from step 7
    assert loads == ["once"]


def test_a_given_reference_is_what_changes_are_counted_from(tmp_path, base, pairs):
    toy_model(seed=9).save(tmp_path / "other")
    job = dpo_job(tmp_path / "s", base, pairs, steps=1)
    reference = [InputArtifact(source="other", path=str(tmp_path / "other"))]
    outcome = run_toy(job.model_copy(update={"inputs": {**job.inputs, "reference": reference}}))
    assert outcome.status == "completed", outcome.problem
    row, own = journal_of(job)[0], dpo_job(tmp_path / "own", base, pairs, steps=1)
    assert run_toy(own).status == "completed"
    assert abs(journal_of(own)[0]["chosen_change"]) < 1e-4
    other = LanguageModel.load(tmp_path / "other")
    seed = derive(job.seed, job.id, "order")
    data = gather(StageContext(job, toy_registry(), lambda event: None), other, DpoStage(job.options).config)
    chosen = [data.pairs[index].chosen for index in indices_of_step(1, 32, data.trained, seed)]
    expected = row["chosen_logprob"] - score_sequences(other, chosen, NONE).logprob.mean().item()
    assert row["chosen_change"] == pytest.approx(expected, rel=1e-4)


def test_a_reference_with_another_tokenizer_is_refused(tmp_path, base, pairs):
    model = toy_model()
    model.save(tmp_path / "other")
    file = tmp_path / "other" / "tokenizer.json"
    file.write_text(file.read_text().replace('"a"', '"z"'))
    job = dpo_job(tmp_path / "s", base, pairs)
    reference = [InputArtifact(source="other", path=str(tmp_path / "other"))]
    outcome = run_toy(job.model_copy(update={"inputs": {**job.inputs, "reference": reference}}))
    assert outcome.kind == "PolicyError"
    assert "another tokenizer" in outcome.problem


@pytest.mark.parametrize("loss", ["orpo", "simpo"])
def test_a_reference_that_the_loss_does_not_read_is_refused(tmp_path, base, pairs, loss):
    job = dpo_job(tmp_path / "s", base, pairs, loss=loss)
    reference = [InputArtifact(source="base", path=str(base))]
    outcome = run_toy(job.model_copy(update={"inputs": {**job.inputs, "reference": reference}}))
    assert outcome.kind == "ConfigError"
    assert f"has a reference, and {loss} reads none" in outcome.problem


def test_pairs_of_earlier_stages_are_trained_on_too(tmp_path, base):
    inputs: dict[Any, list[InputArtifact]] = {
        "init_from": [InputArtifact(source="base", path=str(base))],
        "data_from": [],
    }
    for name, rows in (("one", PAIRS[:2]), ("two", PAIRS[2:6])):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "pairs.jsonl", rows)
        inputs["data_from"].append(InputArtifact(source=name, path=str(tmp_path / name)))
    job = dpo_job(tmp_path / "s", base, None, heldout=0, steps=1).model_copy(update={"inputs": inputs})
    found = gather(StageContext(job, toy_registry(), lambda event: None), toy_model(), DpoStage(job.options).config)
    assert found.trained == 6
    assert run_toy(job).status == "completed"


def test_micro_batches_do_not_change_a_step(tmp_path, base, pairs):
    weights = []
    for micro in (32, 5):
        job = dpo_job(tmp_path / str(micro), base, pairs, steps=1, micro_batch=micro).model_copy(update={"id": "dpo"})
        assert run_toy(job).status == "completed"
        weights.append(weights_of(job))
    assert all(torch.allclose(value, weights[1][name], atol=2e-5) for name, value in weights[0].items())


def test_chosen_completions_that_become_unlikely_are_marked_and_said_once(tmp_path, base, pairs):
    events: list[StageEvent] = []
    # A tiny beta lets the policy go far; both completions fall from here on.
    job = dpo_job(
        tmp_path / "s", base, pairs, loss={"use": "dpo", "beta": 0.01}, lr=2e-2, steps=30, warn_chosen_drop=0.1
    )
    assert run_toy(job, events=events).status == "completed"
    marks = [row["chosen_collapsed"] for row in journal_of(job)]
    assert marks[0] == 0.0
    assert 1.0 in marks
    said = [event.text for event in events if event.kind == "message" and "nats per token below" in event.text]
    assert len(said) == 1


def test_what_is_left_out_is_said(tmp_path, base):
    rows = [
        *PAIRS[:5],
        {"prompt": "#aaa=", "chosen": "a", "rejected": "a"},
        {"prompt": "#", "chosen": "a" * 70, "rejected": "b"},
    ]
    events: list[StageEvent] = []
    file = write(tmp_path / "p.jsonl", rows)
    job = dpo_job(tmp_path / "s", base, file, heldout=0, steps=1, too_long="drop")
    assert run_toy(job, events=events).status == "completed"
    said = [event.text for event in events if event.kind == "message"]
    assert "p.jsonl: 1 pairs with two equal completions are left out" in said
    assert "p.jsonl: 1 of 6 pairs are longer than 64 tokens and left out" in said
    outcome = run_toy(dpo_job(tmp_path / "r", base, file, heldout=0, steps=1))
    assert "1 of 6 pairs are longer than the 64 tokens that fit, the first is 'p.jsonl:7' with 72" in outcome.problem


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"data": None}, "has no pair to train on"),
        ({"data": "nowhere.jsonl"}, "nowhere.jsonl:1: cannot be read"),
        ({"heldout": 500}, "leaves none of the 180 pairs to train on"),
        ({"loss": {"use": "dpo", "formatting_tokens": ["Z"]}}, "formatting_tokens ['Z'] are not in"),
        ({"max_tokens": 8}, "are longer than the 8 tokens that fit"),
    ],
)
def test_what_cannot_be_trained_on_is_an_outcome_that_says_so(tmp_path, base, pairs, options, said):
    job = dpo_job(tmp_path / "s", base, pairs)
    outcome = run_toy(job.model_copy(update={"options": {**job.options, **options}}))
    assert outcome.status == "failed"
    assert said in outcome.problem


def test_a_prompt_of_a_held_out_task_is_refused(tmp_path, base, pairs):
    options = {**DPO, "data": str(pairs)}
    job = toy_job(
        "collegium-dpo/dpo", options, tmp_path / "s", domains=[toy_domain("copy")], inputs={"init_from": base}
    )
    outcome = run_toy(job)
    assert outcome.kind == "DataError"
    assert "held-out task" in outcome.problem
