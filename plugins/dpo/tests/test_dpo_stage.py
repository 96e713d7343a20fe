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

from collegium.job import StageEvent, StageJob
from collegium.plugins.registry import Registry
from collegium.testing.stages import journal_of, run_and_kill, run_toy, toy_domain, toy_job, toy_model, weights_of
from collegium.training.packing import Example
from collegium.training.supervised import supervised_step
from collegium.training.supervised_config import SupervisedConfig
from collegium.training.supervised_data import to_example
from collegium.training.trainer import Trainer
from collegium_dpo.data import encode, keep_aside, unrelated
from collegium_dpo.pairs import Pair
from collegium_dpo.scores import score_sequences

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
