"""Answers are kept by what was asked, in memory and in a file that outlives the run."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from collegium import Completion, ConfigError, Score, Task
from collegium_verifier_judge.cache import AnswerCache, digest_of
from collegium_verifier_judge.verifier import JudgeVerifier

Build = Callable[..., JudgeVerifier]
TASK = Task("t1", "name red", "red green")


def test_a_question_is_asked_once(judge_of: Build, endpoint: Any) -> None:
    judge = judge_of()
    first, again = (judge.verify(Completion("alpha"), TASK) for _ in range(2))
    assert isinstance(first, Score)
    assert isinstance(again, Score)
    assert first.value == again.value
    assert (first.details["cached"], again.details["cached"]) == (False, True)
    assert again.details["usage"]["calls"] == 0
    assert len(endpoint.seen) == 1


@pytest.mark.parametrize("mode", ["pointwise", "reference", "pairwise"])
def test_a_file_serves_the_next_run_even_without_the_service(
    judge_of: Build, endpoint: Any, tmp_path: Path, mode: str
) -> None:
    options = {"cache": tmp_path / "folder" / "answers.sqlite", "mode": mode}
    verdict = judge_of(**options).verify(Completion("red alpha"), TASK)
    asked = len(endpoint.seen)
    again = judge_of(**options, budget={"calls": 0}).verify(Completion("red alpha"), TASK)
    assert isinstance(verdict, Score)
    assert isinstance(again, Score)
    assert again.value == verdict.value
    assert again.details["cached"]
    assert len(endpoint.seen) == asked


@pytest.mark.parametrize(
    "change",
    [
        {"model": "other"},
        {"rubric": "Mention: beta"},
        {"scale": 5},
        {"mode": "reference"},
        {"temperature": 0.5},
        {"params": {"seed": 1}},
        {"max_answer_tokens": 99},
        {"response_format": "text"},
        {"max_characters": 500},
    ],
)
def test_what_changes_the_question_is_asked_anew(
    judge_of: Build, endpoint: Any, tmp_path: Path, change: dict[str, Any]
) -> None:
    path = tmp_path / "answers.sqlite"
    judge_of(cache=path).verify(Completion("alpha"), TASK)
    judge_of(cache=path, **change).verify(Completion("alpha"), TASK)
    assert len(endpoint.seen) == 2


@pytest.mark.parametrize(
    ("completion", "task"),
    [
        (Completion("alpha "), TASK),
        (Completion("alpha", "length"), TASK),
        (Completion("alpha"), Task("t1", "name blue")),
        (Completion("\ud800"), TASK),
    ],
)
def test_another_completion_or_prompt_is_another_question(
    judge_of: Build, endpoint: Any, completion: Completion, task: Task
) -> None:
    judge = judge_of()
    judge.verify(Completion("alpha"), TASK)
    judge.verify(completion, task)
    assert len(endpoint.seen) == 2


def test_what_does_not_change_it_is_not(judge_of: Build, endpoint: Any, tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    judge_of(cache=path).verify(Completion("alpha"), TASK)
    judge_of(cache=path, retries=9, seed=4, concurrency=2, item_s=40).verify(
        Completion("alpha"), Task("t2", "name red")
    )
    assert len(endpoint.seen) == 1


def test_a_file_that_is_no_cache_is_refused(judge_of: Build, tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("these are notes, and longer than a header of a hundred bytes " * 20)
    with pytest.raises(ConfigError, match="cannot be used"):
        judge_of(cache=file)
    assert file.read_text().startswith("these are notes")


def test_two_caches_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    caches = [AnswerCache(path), AnswerCache(path)]

    def work(number: int) -> None:
        caches[number % 2].store(digest_of({"n": number}), {"points": number})

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(100)))
    assert [caches[0].take(digest_of({"n": n})) for n in range(100)] == [{"points": n} for n in range(100)]
    for cache in caches:
        cache.close()
