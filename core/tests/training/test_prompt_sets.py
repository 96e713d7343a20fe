"""`prompts_from`: what an earlier stage chose is what a later one trains on, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from collegium import DataError
from collegium.job import InputArtifact
from collegium.task import Task
from collegium.testing.stages import toy_domain, toy_job, toy_registry
from collegium.training.context import StageContext
from collegium.training.prompt_sets import read_prompts, restrict


def folder(path: Path, *rows: object) -> Path:
    path.mkdir()
    (path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def context(tmp_path: Path, *folders: Path) -> StageContext:
    job = toy_job("x/y", {}, tmp_path / "s", domains=[toy_domain("copy"), toy_domain("reverse")])
    inputs = [InputArtifact(source="filter", path=str(each)) for each in folders]
    return StageContext(job.model_copy(update={"inputs": {"prompts_from": inputs}}), toy_registry(), lambda event: None)


def test_training_tasks_are_those_that_any_artifact_names_and_held_out_ones_stay(tmp_path):
    plain = context(tmp_path)
    copies, reversals = (plain.tasks("train")[name] for name in ("copy", "reverse"))
    one = folder(
        tmp_path / "one", *({"domain": "copy", "task": copies[index].id, "pass_rate": 0.5} for index in (3, 1))
    )
    two = folder(
        tmp_path / "two", {"domain": "copy", "task": copies[7].id}, {"domain": "reverse", "task": reversals[0].id}
    )
    found = context(tmp_path, one, two)
    assert found.tasks("train") == {"copy": [copies[1], copies[3], copies[7]], "reverse": [reversals[0]]}
    assert found.tasks("heldout") == plain.tasks("heldout")


def test_a_domain_that_is_not_named_and_a_task_that_does_not_exist_are_errors(tmp_path):
    tasks = {"a": [Task("1", "p")], "b": [Task("2", "q")]}
    with pytest.raises(DataError, match="prompts_from names no task of domain 'b'; it names tasks of a, c"):
        restrict(tasks, {"a": {"1"}, "c": {"9"}})
    with pytest.raises(DataError, match="2 tasks that domain 'b' does not have, such as '1'"):
        restrict(tasks, {"a": {"1"}, "b": {"1", "2", "3"}})


@pytest.mark.parametrize("row", [{"domain": "a"}, {"domain": "a", "task": 1}])
def test_a_malformed_row_is_named(tmp_path, row):
    made = folder(tmp_path / "bad", {"domain": "a", "task": "1"}, row)
    with pytest.raises(DataError, match=r"prompts\.jsonl:2: expected"):
        read_prompts([made])


def test_an_artifact_without_prompts_is_an_error(tmp_path):
    with pytest.raises(DataError, match=r"no prompts\.jsonl in"):
        read_prompts([tmp_path])
