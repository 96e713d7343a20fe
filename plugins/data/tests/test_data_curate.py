"""Curating: duplicates, contamination and mixes by hand, and the stage that puts them together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collegium import ConfigError
from collegium.job import InputArtifact, StageJob
from collegium.kinds.data_files import read_json_lines
from collegium.task import Task
from collegium.testing.stages import journal_of, run_toy, toy_domain, toy_job
from collegium_data.contamination import HeldOut
from collegium_data.curate_config import CurateConfig, DecontaminateConfig, NearConfig, SourceConfig
from collegium_data.duplicates import exact_duplicates, jaccard, near_duplicates
from collegium_data.items import Item
from collegium_data.mixing import choose, counts_of
from collegium_data.ngrams import grams, units
from collegium_data.sieve import sift_prompts

STAGE = "collegium-data/curate"


def test_words_numbers_and_marks_are_units_and_a_short_text_is_one_gram():
    assert units("Add 12+3, please", "word") == ["add", "12", "+", "3", ",", "please"]
    assert units("aB", "character") == ["a", "b"]
    assert grams(["a", "b", "c"], 2) == [("a", "b"), ("b", "c")]
    assert grams(["a"], 2) == [("a",)]
    assert grams([], 2) == []


def test_of_equal_texts_the_first_stays():
    assert exact_duplicates(["x", "y", "x", "x"]) == {2: 0, 3: 0}


def test_similarity_is_shared_grams_over_all_grams():
    one, other = (set(grams(list(text), 2)) for text in ("abcd", "abce"))
    assert jaccard(one, other) == pytest.approx(2 / 4)
    assert jaccard(set(), set()) == 0.0


def test_a_near_duplicate_is_dropped_for_the_one_that_stays():
    texts = ["the cat sat on the mat", "the cat sat on the rug", "a dog ran", "The cat sat on the mat"]
    config = NearConfig(n=2, threshold=0.6)
    # 4 of 6 pairs of words are shared; the last differs in case only.
    assert near_duplicates(texts, config) == {1: 0, 3: 0}
    assert near_duplicates(texts, config.model_copy(update={"threshold": 0.7})) == {3: 0}


@given(
    st.lists(st.text("abc", max_size=12), max_size=12),
    st.sampled_from([0.3, 0.5, 0.7, 0.8, 1.0]),
    st.integers(1, 3),
)
def test_prefix_filtering_finds_what_comparing_all_finds(texts, threshold, n):
    config = NearConfig(n=n, unit="character", threshold=threshold)
    sets = [set(grams(list(text), n)) for text in texts]
    expected: dict[int, int] = {}
    for index, own in enumerate(sets):
        like = next((k for k in range(index) if k not in expected and jaccard(own, sets[k]) >= threshold), None)
        if like is not None:
            expected[index] = like
    assert near_duplicates(texts, config) == expected


HELD_OUT = Task("h", "one two three four five six seven eight nine ten", domain="d")


def test_the_overlap_is_the_share_of_the_held_out_prompts_words_in_shared_eight_grams():
    known = HeldOut([HELD_OUT], DecontaminateConfig())
    nine = "so: one two three four five six seven eight nine!"
    assert known.overlaps(nine) == {"d/h": pytest.approx(9 / 10)}
    assert known.contaminates(nine) == "d/h"
    assert known.overlaps("one two three four five six seven and eight nine ten") == {}
    loose = HeldOut([HELD_OUT], DecontaminateConfig(share=0.9))
    assert loose.contaminates(nine) is None
    assert loose.contaminates(f"well, {HELD_OUT.prompt}") == "d/h"


def test_a_share_of_half_is_not_more_than_half():
    known = HeldOut([Task("h", "a b c d")], DecontaminateConfig(n=2))
    assert known.contaminates("a b x") is None
    assert known.contaminates("a b c") == "h"


def test_a_short_held_out_prompt_counts_as_a_whole():
    known = HeldOut([Task("h", "12+3=")], DecontaminateConfig())
    assert known.contaminates("What is 12+3= ?") == "h"
    assert known.contaminates("112+3=") is None
    assert known.contaminates("") is None


def test_prompts_of_other_pictures_are_other_prompts():
    held_out = Task("h", "<image>how many?", images=(b"one",))
    items = [Item("d", str(index), "d", "<image>how many?", images=images) for index, images in
             enumerate([(b"two",), (b"three",), (b"two",), (b"one",)])]  # fmt: skip
    sieve = sift_prompts(items, [held_out], CurateConfig(near=NearConfig(n=1, threshold=0.1)))
    assert [item.name for item in sieve.items] == ["0", "1"]
    assert [(each.item.name, each.reason, each.because) for each in sieve.dropped] == [
        ("2", "duplicate", "0"),
        ("3", "contaminated", "h"),
    ]


@pytest.mark.parametrize(
    ("train", "held_out", "contaminated"),
    [("gsm8k_train.jsonl.gz:question", "gsm8k_test.jsonl:question", 3),
     ("math_train.jsonl.gz:problem", "math500.jsonl:problem", 341)],
)  # fmt: skip
def test_real_training_sets_hold_little_of_their_test_sets(real_data, train, held_out, contaminated):
    def texts(name: str) -> list[str]:
        file, _, key = name.partition(":")
        return [row[key] for _, row in read_json_lines(real_data / file, owner="test")]

    known = HeldOut([Task(str(index), text) for index, text in enumerate(texts(held_out))], DecontaminateConfig())
    assert sum(known.contaminates(text) is not None for text in texts(train)) == contaminated


def test_weights_make_the_largest_mix_that_repeats_nothing():
    weights = {"a": SourceConfig(weight=3), "b": SourceConfig(weight=1)}
    assert counts_of({"a": 30, "b": 100}, weights, None) == {"a": 30, "b": 10}
    assert counts_of({"a": 30, "b": 100}, weights, 10) == {"a": 8, "b": 2}  # 7.5 and 2.5: equal fractions, by name
    assert counts_of({"a": 30, "b": 4}, {**weights, "a": SourceConfig(weight=3, count=6)}, None) == {"a": 6, "b": 2}
    assert counts_of({"a": 30, "b": 9}, {"a": SourceConfig(weight=1), "b": SourceConfig(weight=0)}, None) == {
        "a": 30, "b": 0,
    }  # fmt: skip


def test_without_weights_all_is_taken_or_a_part_in_proportion():
    assert counts_of({"a": 30, "b": 10}, {"a": SourceConfig(count=20)}, None) == {"a": 20, "b": 10}
    assert counts_of({"a": 30, "b": 10}, {}, 8) == {"a": 6, "b": 2}


@pytest.mark.parametrize(
    ("available", "sources", "said"),
    [
        ({"a": 1}, {"x": SourceConfig()}, "sources names 'x'; there are a"),
        ({"a": 1, "b": 1}, {"a": SourceConfig(weight=1)}, "weights to a and none to b"),
        ({"a": 1}, {"a": SourceConfig(weight=0)}, "none to any above 0"),
        ({"a": 0, "b": 1}, {"a": SourceConfig(weight=1), "b": SourceConfig(weight=1)}, "no row of these is left"),
    ],
)
def test_a_mix_that_makes_no_sense_is_refused(available, sources, said):
    with pytest.raises(ConfigError, match=said):
        counts_of(available, sources, None)


@given(st.integers(0, 20), st.integers(0, 20))
def test_chosen_rows_are_different_and_the_seed_decides_which(count, available):
    found = choose(count, available, 1, "x")
    assert found == sorted(set(found)) == choose(count, available, 1, "x")
    assert len(found) == min(count, available)


def rows_of(job: StageJob, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(job.directory) / "output" / "data" / name).read_text().splitlines()]


def curate(directory: Path, *, data_from: Path | None = None, **options: Any) -> StageJob:
    domains = [toy_domain("copy", right=0.5), toy_domain("reverse")]
    job = toy_job(STAGE, options, directory, domains=domains)
    if data_from:
        job = job.model_copy(update={"inputs": {"data_from": [InputArtifact(source="traces", path=str(data_from))]}})
    return job


def completed(job: StageJob) -> StageJob:
    outcome = run_toy(job)
    assert outcome.status == "completed", outcome.problem
    return job


def test_the_stage_leaves_rows_prompts_and_what_it_dropped(tmp_path):
    held_out = toy_held_out()
    folder = tmp_path / "traces"
    folder.mkdir()
    rows = [
        {"prompt": "#abc=", "completion": "abc", "domain": "copy", "task": "#abc", "score": 1.0},
        {"prompt": "#abc=", "completion": "abc", "domain": "copy", "task": "#abc", "score": 1.0},
        {"prompt": "#bbb=", "completion": "bb", "domain": "copy", "task": "#bbb", "score": 0.2},
        {"prompt": held_out[0], "completion": "x", "domain": "copy", "task": "leak", "score": 1.0},
    ]
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "rows.jsonl").write_text(json.dumps({"instruction": "Say", "input": "a", "output": "b"}) + "\n")
    job = completed(
        curate(
            tmp_path / "s", data_from=folder, data=str(tmp_path / "rows.jsonl"), qualities=["right", ""], min_score=0.5,
            prompts=10, sources={"reverse": {"count": 5}, "traces": {"system_prompt": "~"}},
        )
    )  # fmt: skip
    kept = rows_of(job, "data.jsonl")
    by_source = {name: [row for row in kept if row["source"] == name] for name in ("copy", "reverse", "traces")}
    assert all(row["completion"] == row["prompt"][1:-1] for row in by_source["copy"])  # only those labelled right
    assert len(by_source["reverse"]) == 5
    assert by_source["traces"] == [
        {"prompt": "~#abc=", "completion": "abc", "task": "#abc", "score": 1.0, "domain": "copy", "source": "traces"}
    ]
    assert kept[-2] == {"prompt": "Say\na\n", "completion": "b", "source": "rows.jsonl"}
    prompts = rows_of(job, "prompts.jsonl")
    assert [sum(row["domain"] == name for row in prompts) for name in ("copy", "reverse")] == [10, 10]
    traces = [row for row in rows_of(job, "dropped.jsonl") if row["source"] == "traces"]
    assert [(row["row"], row["reason"]) for row in traces] == [
        ("data.jsonl:3", "score"),
        ("data.jsonl:2", "duplicate"),
        ("data.jsonl:4", "contaminated"),
    ]
    assert [row["because"] for row in traces][:2] == ["0.2", "data.jsonl:1"]
    metrics = journal_of(job)[-1]
    assert metrics["rows"] == len(kept)
    assert metrics["dropped/contaminated/traces"] == 1
    assert metrics["dropped/quality/copy"] == 196 - len(by_source["copy"])
    assert metrics["dropped/not in the mix"] == 191


def toy_held_out() -> list[str]:
    from collegium.testing.toy_domain import ToyTasks

    return [task.prompt_text for task in ToyTasks({"operation": "copy"}).tasks("heldout")]


def test_shares_by_domain_are_kept_and_the_seed_decides_the_rows(tmp_path):
    sources = {"copy": {"weight": 0.25}, "reverse": {"weight": 0.75}}
    one, same = (completed(curate(tmp_path / name / "s", sources=sources, mix_by="domain", rows=40)) for name in "ab")
    kept = rows_of(one, "data.jsonl")
    assert [sum(row["domain"] == name for row in kept) for name in ("copy", "reverse")] == [10, 30]
    assert kept == rows_of(same, "data.jsonl")
    assert journal_of(one) == journal_of(same)
    again = completed(one)  # as after a kill: what it leaves is the same
    assert rows_of(again, "data.jsonl") == kept
    assert len(journal_of(again)) == 1


def test_what_is_curated_trains_and_its_prompts_restrict(tmp_path):
    job = completed(curate(tmp_path / "c", prompts=3, demonstrations=["reverse"], decontaminate=None))
    from collegium.testing.stages import toy_model, toy_registry
    from collegium.training.context import StageContext
    from collegium.training.supervised_data import read_examples

    data = Path(job.directory) / "output" / "data"
    assert len(read_examples(toy_model().tokenizer, data)) == 196
    later = toy_job("x/y", {}, tmp_path / "l", domains=[toy_domain("copy")], inputs={"prompts_from": data})
    assert len(StageContext(later, toy_registry(), lambda event: None).tasks("train")["copy"]) == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"demonstrations": ["chemistry"]}, "demonstrations names 'chemistry'; the stage has copy, reverse"),
        ({"qualities": ["none"], "prompts": 0}, "no row is left"),
        ({"sources": {"chemistry": {}}}, "sources names 'chemistry'"),
        ({"near": {"unit": "character", "n": 1, "threshold": 0.01}}, "no prompt of reverse is left"),
    ],
)
def test_what_cannot_be_curated_is_an_outcome_that_says_so(tmp_path, options, said):
    outcome = run_toy(curate(tmp_path / "s", **options))
    assert outcome.status == "failed"
    assert said in outcome.problem
