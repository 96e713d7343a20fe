"""The supervised stages: discovered, learning, restartable after a real kill, and strict about data."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from collegium.job import StageEvent, StageJob
from collegium.plugins.registry import Registry
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
from collegium.training.context import StageContext
from collegium.training.language_model import LanguageModel
from collegium_sft.pretrain import cut, read_documents
from collegium_sft.sft import SftStage

SFT = {"steps": 60, "lr": 3e-3, "batch": 32, "row_tokens": 48, "schedule": "cosine", "warmup": 5}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("base")
    toy_model().save(path)
    return path


def sft_job(directory: Path, base: Path, **options: Any) -> StageJob:
    domains = [toy_domain("copy"), toy_domain("reverse")]
    return toy_job("collegium-sft/sft", {**SFT, **options}, directory, domains=domains, inputs={"init_from": base})


def test_the_stages_are_found_through_their_entry_point():
    registry = Registry.discover()
    assert registry.find("stage", "sft").id == "collegium-sft/sft"
    assert registry.find("stage", "pretrain").config_class().requires == frozenset()


def test_planning_imports_no_torch():
    code = "import sys, collegium_sft.plugin, collegium_sft.configs; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_imitation_solves_the_domains_it_was_shown(tmp_path, base):
    job = sft_job(tmp_path / "s", base, steps=250)
    outcome = run_toy(job.model_copy(update={"evaluate_on": job.domains}))
    assert outcome.status == "completed", outcome.problem
    assert min(outcome.scores.values()) >= 0.9
    losses = [row["loss"] for row in journal_of(job)]
    assert losses[-1] < 0.1 * losses[0]


def test_pretraining_from_scratch_learns_the_text(tmp_path):
    options = {"steps": 80, "lr": 5e-3, "batch": 32, "row_tokens": 48, "model": TOY_MODEL}
    job = toy_job("collegium-sft/pretrain", options, tmp_path / "b", domains=[toy_domain("copy")])
    outcome = run_toy(job)
    assert outcome.status == "completed", outcome.problem
    losses = [row["loss"] for row in journal_of(job)]
    # Three letters of six are free, the other five tokens of a text follow from them.
    assert losses[-1] < 0.7 * losses[0]
    assert LanguageModel.load(tmp_path / "b" / "output" / "model").context_length == 64


def test_a_killed_stage_ends_with_the_numbers_of_one_that_was_not(tmp_path, base):
    whole, killed = sft_job(tmp_path / "whole" / "sft", base), sft_job(tmp_path / "killed" / "sft", base)
    killed = killed.model_copy(update={"checkpoint_every": 10})
    assert run_toy(whole).status == "completed"
    assert run_and_kill(killed, step=37) == -9
    assert not (Path(killed.directory) / "output").exists()
    events: list[StageEvent] = []
    assert run_toy(killed, events=events).status == "completed"
    assert [event.step for event in events if event.kind == "step"] == list(range(31, 61))
    one, other = weights_of(whole), weights_of(killed)
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert journal_of(whole) == journal_of(killed)


def test_only_the_chosen_domains_and_as_many_demonstrations_as_asked_are_imitated(tmp_path, base):
    job = sft_job(tmp_path / "s", base, domains=["reverse"], max_per_domain=7)
    context = StageContext(job, toy_registry(), lambda event: None)
    stage = SftStage(job.options)
    chosen = stage.demonstrations(context)
    assert len(chosen) == 7
    assert {each.task.domain for each in chosen} == {"reverse"}
    assert chosen == stage.demonstrations(context)


def test_rows_of_a_file_and_of_an_earlier_stage_are_imitated_too(tmp_path, base):
    row = json.dumps({"prompt": "#abc=", "completion": "fff"}) + "\n"
    (tmp_path / "rows.jsonl").write_text(row)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "data.jsonl").write_text(row)
    options = {**SFT, "steps": 2, "domains": [], "data": str(tmp_path / "rows.jsonl"), "batch": 2}
    inputs = {"init_from": base, "data_from": tmp_path / "data"}
    outcome = run_toy(toy_job("collegium-sft/sft", options, tmp_path / "s", domains=[], inputs=inputs))
    assert outcome.status == "completed", outcome.problem
    assert outcome.metrics["tokens"] == 8.0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"domains": []}, "has nothing to imitate"),
        ({"domains": ["chemistry"]}, "domains names 'chemistry', which it does not have; it has copy, reverse"),
        ({"data": "nowhere.jsonl"}, "nowhere.jsonl"),
        ({"row_tokens": 6}, "more than the 6 that fit"),
    ],
)
def test_what_cannot_be_trained_on_is_an_outcome_that_says_so(tmp_path, base, options, said):
    outcome = run_toy(sft_job(tmp_path / "s", base, **options))
    assert outcome.status == "failed"
    assert said in outcome.problem


def test_a_character_the_tokenizer_does_not_know_is_an_error(tmp_path, base):
    (tmp_path / "rows.jsonl").write_text(json.dumps({"prompt": "#abz=", "completion": "a"}) + "\n")
    outcome = run_toy(sft_job(tmp_path / "s", base, data=str(tmp_path / "rows.jsonl")))
    assert outcome.kind == "DataError"
    assert "'z'" in outcome.problem


@pytest.mark.parametrize(("text", "said"), [(None, "cannot be read"), ("  \n\n \n", "is empty")])
def test_a_missing_or_empty_text_file_is_an_error(tmp_path, text, said):
    file = tmp_path / "text.txt"
    if text is not None:
        file.write_text(text)
    options = {"model": TOY_MODEL, "text": str(file)}
    outcome = run_toy(toy_job("collegium-sft/pretrain", options, tmp_path / "b", domains=[]))
    assert outcome.kind == "DataError"
    assert said in outcome.problem
    assert "text.txt" in outcome.problem


def test_documents_longer_than_a_row_are_cut_and_all_is_read(tmp_path):
    file = tmp_path / "text.txt"
    file.write_text("abcdef\nabc\n\n  \nfed")
    documents = read_documents(file)
    assert [text for _, text in documents] == ["abcdef\nabc", "fed"]
    tokenizer = toy_model().tokenizer
    pieces = cut(tokenizer, "abcdefabc", "d", 4)
    assert [len(piece.token_ids) for piece in pieces] == [4, 4, 2]
    ids = [token for piece in pieces for token in piece.token_ids]
    assert tokenizer.decode(ids) == "abcdefabc<eos>"
