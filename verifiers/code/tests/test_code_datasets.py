"""HumanEval and MBPP: every reference solution passes, and none passes another task's tests unnoticed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from collegium import Completion, Score, Task, Verdict
from collegium_verifier_code.verifier import CodeVerifier

DATA = Path(os.environ.get("COLLEGIUM_DATA") or Path(__file__).resolve().parents[4] / "shared" / "data")


def rows(name: str) -> list[dict[str, Any]]:
    path = DATA / name
    if not path.exists():
        if os.environ.get("CI"):
            pytest.fail(f"{path} is missing; set COLLEGIUM_DATA")
        pytest.skip(f"{path} is not here")
    return [json.loads(line) for line in path.read_text().splitlines()]


def failed(tasks: list[Task], verdicts: list[Verdict]) -> list[str]:
    pairs = zip(tasks, verdicts, strict=True)
    return [
        f"{task.id}: {verdict}" for task, verdict in pairs if not (isinstance(verdict, Score) and verdict.value == 1.0)
    ]


def humaneval() -> tuple[list[Task], list[str]]:
    found = rows("humaneval.jsonl")
    data = [{"test": row["test"], "entry_point": row["entry_point"]} for row in found]
    tasks = [Task(row["task_id"], row["prompt"], data=item) for row, item in zip(found, data, strict=True)]
    return tasks, [row["canonical_solution"] for row in found]


def test_every_reference_solution_of_humaneval_passes(verifier: CodeVerifier) -> None:
    tasks, solutions = humaneval()
    verdicts = verifier.verify_batch([Completion(text) for text in solutions], tasks)
    assert failed(tasks, list(verdicts)) == []


def test_every_reference_solution_of_mbpp_passes(verifier: CodeVerifier) -> None:
    found = rows("mbpp.jsonl")
    data = [{"tests": row["test_list"], "setup": row["test_setup_code"]} for row in found]
    tasks = [Task(str(row["task_id"]), row["prompt"], data=item) for row, item in zip(found, data, strict=True)]
    verdicts = verifier.verify_batch([Completion(row["code"]) for row in found], tasks)
    assert failed(tasks, list(verdicts)) == []


def test_a_solution_that_does_nothing_never_passes(verifier: CodeVerifier) -> None:
    tasks, _ = humaneval()
    verdicts = verifier.verify_batch([Completion("    pass\n")] * len(tasks), tasks)
    passed = [
        task.id
        for task, verdict in zip(tasks, verdicts, strict=True)
        if verdict != Score(0.0, getattr(verdict, "details", {}))
    ]
    assert passed == []
