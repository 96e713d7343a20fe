"""The real command line on a recipe with every kind of stage: run, gone on with, told of when it fails."""

from __future__ import annotations

import json

import pytest

from tests.recipes.execute import run_recipe
from tests.recipes.record import make_record, read_records, write_record
from tests.recipes.tiny import write_tiny

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_a_run_is_told_of_whole_gone_on_with_and_failed(tmp_path, monkeypatch):
    recipe = write_tiny(tmp_path, monkeypatch)
    record = make_record(recipe, run_recipe(recipe, tmp_path / "runs/tiny"))
    assert record["status"] == "completed", record
    kinds = {figure["stage"]: figure["kind"] for figure in record["figures"]}
    assert kinds == {
        "base": "pretraining",
        "sft": "SFT",
        "sampled": "data",
        "rewards": "reward model",
        "preferred": "preferences",
        "average": "merge",
        "teacher-copy": "RL",
        "teacher-reverse": "RL",
        "student": "consolidation",
    }
    assert {figure["verdict"] for figure in record["figures"]} <= {"holds", "does not hold", "reported"}
    assert str(tmp_path) not in json.dumps(record)

    write_record(record, tmp_path / "results")
    assert read_records(tmp_path / "results") == {"tiny": record}

    again = make_record(recipe, run_recipe(recipe, tmp_path / "runs/tiny"))
    assert not (tmp_path / "runs/tiny/previous").exists()  # the run was gone on with
    assert (again["figures"], again["seconds"]["stages"]) == (record["figures"], record["seconds"]["stages"])

    recipe.write_text(recipe.read_text().replace("steps: 4", "steps: 5"))
    changed = make_record(recipe, run_recipe(recipe, tmp_path / "runs/tiny"))
    assert (tmp_path / "runs/tiny/previous").exists()
    assert changed["digest"] != record["digest"]
    assert {stage["id"]: stage["status"] for stage in changed["stages"]}["base"] == "cached"
    assert changed["stages"][0]["seconds"] == record["stages"][0]["seconds"]  # of when it was made

    recipe.write_text(recipe.read_text().replace("heldout: 6", "heldout: 600"))
    failed = make_record(recipe, run_recipe(recipe, tmp_path / "runs/tiny"))
    assert failed["status"] == "failed"
    assert "preferred" in failed["problem"]

    recipe.write_text(recipe.read_text() + "nonsense: 1\n")
    refused = make_record(recipe, run_recipe(recipe, tmp_path / "runs/tiny"))
    assert (refused["status"], "nonsense" in refused["problem"]) == ("failed", True)
