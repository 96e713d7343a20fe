"""Real preference pairs: a model of characters from random weights tells polite answers from impolite ones."""

from __future__ import annotations

import json
import os
import string
from pathlib import Path

import pytest

from collegium.job import StageEvent
from collegium.testing.stages import TOY_MODEL, journal_of, run_toy, toy_job
from collegium.training.initialise import initialise
from collegium.training.model_spec import ModelSpec

FOLDER = Path(os.environ.get("COLLEGIUM_DATA") or Path(__file__).parents[4] / "shared" / "data")
FILE = FOLDER / "pref_small_politeness.jsonl"
FIELDS = ("instruction", "input", "chosen", "rejected")


@pytest.fixture(scope="module")
def pairs() -> Path:
    if not FILE.is_file():
        if os.environ.get("CI"):
            pytest.fail(f"{FILE} is missing, and the continuous integration has the data")
        pytest.skip("the real data is not here")
    return FILE


def test_held_out_accuracy_is_well_above_that_of_length(tmp_path, pairs):
    rows = [json.loads(line) for line in pairs.read_text(encoding="utf-8").splitlines()]
    characters = "".join(sorted({char for row in rows for field in FIELDS for char in row[field]} | {"\n"}))
    sizes = {"hidden_size": 48, "intermediate_size": 96, "max_position_embeddings": 512}
    spec = ModelSpec(**{**TOY_MODEL, "sizes": {**TOY_MODEL["sizes"], **sizes}, "tokenizer": {"characters": characters}})
    initialise(spec, 0).save(tmp_path / "base")
    options = {"data": [str(pairs)], "prompt_fields": ["instruction", "input"], "heldout": 0.2, "steps": 80,
               "batch": 16, "lr": 3e-3, "schedule": "cosine", "warmup": 5}  # fmt: skip
    job = toy_job(
        "collegium-reward-model/reward-model", options, tmp_path / "rm", domains=[],
        inputs={"init_from": tmp_path / "base"},
    )  # fmt: skip
    outcome = run_toy(job)
    assert outcome.status == "completed", outcome.problem
    last = journal_of(job)[-1]
    assert last["heldout/pairs"] > 200
    assert last["heldout/length_accuracy"] < 0.6
    assert last["heldout/accuracy"] > last["heldout/length_accuracy"] + 0.15
    assert last["heldout/accuracy"] > 0.7


def test_what_a_small_model_cannot_read_is_left_out_and_counted(tmp_path, pairs, monkeypatch):
    monkeypatch.setenv("COLLEGIUM_DATA", str(FOLDER))
    letters = string.ascii_letters + " .,:;!?'\"()-\n"
    sizes = {**TOY_MODEL["sizes"], "max_position_embeddings": 256}
    spec = ModelSpec(**{**TOY_MODEL, "sizes": sizes, "tokenizer": {"characters": letters}})
    initialise(spec, 0).save(tmp_path / "base")
    options = {"data": "$COLLEGIUM_DATA/pref_small_politeness.jsonl", "steps": 1, "batch": 4, "limit": 50}
    inputs = {"init_from": tmp_path / "base"}
    job = toy_job("collegium-reward-model/reward-model", options, tmp_path / "rm", domains=[], inputs=inputs)
    assert run_toy(job).kind == "DataError"
    job = job.model_copy(update={"options": {**options, "unencodable": "drop", "max_tokens": 180}})
    assert "more than max_tokens 180" in run_toy(job).problem
    events: list[StageEvent] = []
    job = job.model_copy(update={"options": {**job.options, "too_long": "drop"}})
    outcome = run_toy(job, events=events)
    assert outcome.status == "completed", outcome.problem
    said = "\n".join(event.text for event in events)
    assert "6 of 1100 rankings have two equal completions" in said
    assert "rankings have characters without a token and are left out" in said
    assert "rankings are longer than 180 tokens and are left out" in said
    assert outcome.metrics["heldout/prompts"] <= 5
