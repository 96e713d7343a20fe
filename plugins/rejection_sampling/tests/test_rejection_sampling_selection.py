"""What is kept and what makes a pair, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from collegium_rejection_sampling.configs import RejectionSamplingConfig
from collegium_rejection_sampling.judged import Judged, JudgedFile
from collegium_rejection_sampling.selection import best, merge, pair, select


def made(completion: str, score: float | None, prompt: str = "p", **fields: Any) -> Judged:
    base = {"task": prompt, "domain": "d", "truncated": False, "tokens": len(completion), "source": "sft"}
    return Judged(prompt=prompt, completion=completion, score=score, **{**base, **fields})


def config(**options: Any) -> RejectionSamplingConfig:
    return RejectionSamplingConfig(**options)


def texts(judged: list[Judged]) -> list[str]:
    return [each.completion for each in judged]


GROUP = [
    made("a", 0.5),
    made("b", 1.0),
    made("b", 1.0),
    made("c", 1.0),
    made("d", None),
    made("e", 2.0, truncated=True),
]


def test_the_best_right_completion_is_kept_once():
    assert texts(best(GROUP, config())) == ["b"]
    assert texts(best(GROUP, config(keep=None))) == ["b", "c"]
    assert texts(best(GROUP, config(keep=None, min_score=0.5))) == ["b", "c", "a"]


def test_without_a_right_one_nothing_is_kept_unless_there_is_no_bar():
    wrong = [made("a", 0.2), made("b", 0.7)]
    assert best(wrong, config()) == []
    assert texts(best(wrong, config(min_score=None))) == ["b"]


def test_a_completion_without_a_score_or_without_an_end_is_never_kept():
    assert best([made("a", None), made("b", 1.0, truncated=True)], config(min_score=None)) == []


def test_a_pair_is_the_best_against_the_worst_where_they_differ_enough():
    found = pair(GROUP, config(), 3)
    assert (found["chosen"], found["rejected"], found["scores"], found["round"]) == ("b", "a", [1.0, 0.5], 3)
    assert pair(GROUP, config(pair_margin=0.5), 1) is None
    assert pair([made("b", 1.0), made("c", 1.0)], config(), 1) is None
    assert pair([made("a", 0.0), made("b", 0.5)], config(), 1) is None
    assert pair([made("a", None)], config(min_score=None), 1) is None


def test_the_figures_are_those_of_the_completions():
    judged = [*GROUP, made("x", 0.0, "q"), made("x", 0.0, "q")]
    found = select(judged, config(), 1)
    assert [row["prompt"] for row in found.demonstrations] == ["p"]
    assert found.metrics == {
        "score": pytest.approx((0.5 + 3 * 1.0 + 2.0) / 7),
        "score/best": pytest.approx(1.0),
        "pass@1": pytest.approx(4 / 7),
        "pass@K": 0.5,
        "prompts": 2.0,
        "prompts/left_out": 1.0,
        "kept/prompts": 0.5,
        "kept/completions": pytest.approx(1 / 8),
        "pairs": 1.0,
        "tokens": 8.0,
        "filtered": 0.0,
        "duplicates": pytest.approx(2 / 8),
        "score/kept": 1.0,
    }


def test_what_does_not_pass_the_filters_is_neither_kept_nor_in_a_pair_and_counted():
    judged = [made("a", 1.0, passes=False), made("b", 0.5), made("c", 0.0), made("d", -1.0, passes=False)]
    found = select(judged, config(min_score=0.5), 1)
    assert [row["completion"] for row in found.demonstrations] == ["b"]
    assert [(row["chosen"], row["rejected"]) for row in found.pairs] == [("b", "c")]
    assert found.metrics["filtered"] == 0.5


def test_a_system_prompt_is_in_the_rows():
    judged = [made("a", 1.0), made("b", 0.0), made("c", 1.0, prompt=[{"role": "user", "content": "q"}])]
    found = select(judged, config(system_prompt="s "), 1)
    assert [row["prompt"] for row in found.demonstrations] == [
        "s p",
        [{"role": "system", "content": "s "}, {"role": "user", "content": "q"}],
    ]
    assert found.pairs[0]["prompt"] == "s p"


def test_the_same_prompt_of_two_domains_is_two_prompts():
    found = select([made("a", 1.0), made("a", 1.0, domain="other")], config(), 1)
    assert [row["domain"] for row in found.demonstrations] == ["d", "other"]


def row(prompt: str, completion: str, score: float, number: int) -> dict[str, Any]:
    return {"prompt": prompt, "completion": completion, "score": score, "round": number}


EARLIER = [row("p", "old", 1.0, 1), row("p", "same", 1.0, 2), row("q", "only", 1.0, 1)]
FRESH = [row("p", "same", 1.0, 3), row("r", "new", 1.0, 3)]


def test_all_earlier_rounds_are_kept_and_a_completion_once():
    merged = merge(FRESH, EARLIER, config())
    assert [(each["completion"], each["round"]) for each in merged] == [
        ("same", 3),
        ("new", 3),
        ("old", 1),
        ("only", 1),
    ]


def test_only_the_best_over_all_rounds_are_kept_if_asked():
    better = [*EARLIER, row("r", "best", 2.0, 1)]
    merged = merge(FRESH, better, config(earlier="best"))
    assert [each["completion"] for each in merged] == ["same", "best", "only"]


def test_the_file_is_cut_back_to_a_step_and_an_unfinished_line_dropped(tmp_path):
    file = JudgedFile(tmp_path / "judged.jsonl")
    for step in (1, 2, 3):
        file.append(step, [made(str(step), 1.0), made("x", None)])
    with file.path.open("a") as stream:
        stream.write('{"step": 1, "task"')
    assert file.cut(2) == 4
    assert [(each.completion, each.score) for each in file.read()] == [("1", 1.0), ("x", None), ("2", 1.0), ("x", None)]
    assert file.cut(0) == 0
    assert file.read() == []
