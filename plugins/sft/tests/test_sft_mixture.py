"""Shares of domains and of raw text in the batches, by hand and in a stage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collegium import ConfigError
from collegium.job import StageEvent, StageJob
from collegium.testing.stages import run_toy, toy_domain, toy_job, toy_model, toy_registry
from collegium.training.context import StageContext
from collegium.training.language_model import LanguageModel
from collegium_sft.configs import SftConfig
from collegium_sft.mixture import shares_of, weighted_order
from collegium_sft.pretrain import read_documents
from collegium_sft.sft import SftStage


def test_weights_are_shares_beside_raw_text():
    assert shares_of({"a": 3, "b": 1}, 0.0, ["a", "b", "b"]) == {"a": 0.75, "b": 0.25}
    assert shares_of({"a": 3, "b": 1}, 0.2, ["a", "b"]) == pytest.approx({"a": 0.6, "b": 0.2, "raw text": 0.2})
    assert shares_of({}, 0.5, ["a", "b", "b", "b"]) == {"a": 0.125, "b": 0.375, "raw text": 0.5}


@pytest.mark.parametrize("weights", [{"a": 1.0}, {"a": 1.0, "b": 1.0, "c": 1.0}])
def test_a_domain_on_one_side_only_is_refused(weights):
    with pytest.raises(ConfigError, match="is on one side only"):
        shares_of(weights, 0.0, ["a", "b"])


def test_each_part_has_its_share_and_each_example_its_turn():
    parts = {"a": [0, 1, 2], "b": [3]}
    order = weighted_order(parts, {"a": 0.75, "b": 0.25}, 12, 1)
    assert [index == 3 for index in order].count(True) == 3
    assert sorted(index for index in order if index != 3) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    first = [index for index in order if index != 3][:3]
    assert sorted(first) == [0, 1, 2]  # an epoch of the part
    assert (
        order
        == weighted_order(parts, {"a": 0.75, "b": 0.25}, 12, 1)
        != weighted_order(parts, {"a": 0.75, "b": 0.25}, 12, 2)
    )


@given(st.lists(st.floats(0.05, 1), min_size=1, max_size=5), st.integers(1, 60))
def test_at_any_time_no_part_is_behind_by_more_than_one_or_ahead_by_one(weights, total):
    parts = {str(index): [index] for index in range(len(weights))}
    shares = {str(index): weight / sum(weights) for index, weight in enumerate(weights)}
    order = weighted_order(parts, shares, total, 0)
    for until in range(1, total + 1):
        for index, name in enumerate(parts):
            assert order[:until].count(index) < shares[name] * until + 1 + 1e-9


def sft_job(directory: Path, domains: list[Any], **options: Any) -> StageJob:
    toy_model().save(directory.parent / "base")
    base = {"steps": 10, "batch": 20, "row_tokens": 48}
    return toy_job("collegium-sft/sft", {**base, **options}, directory, domains=domains,
                   inputs={"init_from": directory.parent / "base"})  # fmt: skip


def test_a_stage_deals_its_batches_by_weight(tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"prompt": f"#{word}=", "completion": "f"}) + "\n" for word in ("a", "b")))
    options = {"data": str(rows), "weights": {"copy": 0.5, "reverse": 0.3, "other": 0.2}, "text_share": 0.5}
    job = sft_job(tmp_path / "s", [toy_domain("copy"), toy_domain("reverse")], **options)
    events: list[StageEvent] = []
    outcome = run_toy(job, events=events)
    assert outcome.status == "completed", outcome.problem
    assert any(
        "copy 0.25 (196 examples), reverse 0.15 (196 examples), other 0.1 (2 examples), raw text 0.5 (392" in event.text
        for event in events
    )
    context = StageContext(job, toy_registry(), lambda event: None)
    stage = SftStage(job.options)
    domains = [domain for domain, _ in stage.examples(context, LanguageModel.load(tmp_path / "base"))]
    order = stage.order(context, domains, 392)
    first = [[*domains, *["text"] * 392][index] for index in order[:20]]
    assert [first.count(name) for name in ("copy", "reverse", "other", "text")] == [5, 3, 2, 10]


def test_all_of_raw_text_is_trained(tmp_path):
    (tmp_path / "text.jsonl").write_text('{"text": "abcdef"}\n')
    options = {"text_share": 0.5, "text": str(tmp_path / "text.jsonl"), "steps": 1, "batch": 2, "max_per_domain": 1}
    outcome = run_toy(sft_job(tmp_path / "s", [toy_domain("copy")], **options))
    assert outcome.status == "completed", outcome.problem
    assert outcome.metrics["tokens"] == 4 + 6  # "abc" and its end; of "abcdef" and its end all but the first


def test_rows_of_a_file_are_limited_and_long_ones_left_out_and_counted(tmp_path):
    rows = [{"prompt": "#a=", "completion": "a" * length, "domain": "d"} for length in (1, 2, 3, 40, 50)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = {"data": [str(tmp_path / "rows.jsonl")], "row_tokens": 20}
    assert "more than the 20 that fit" in run_toy(sft_job(tmp_path / "a" / "s", [], **options)).problem
    events: list[StageEvent] = []
    outcome = run_toy(sft_job(tmp_path / "b" / "s", [], **options, too_long="drop"), events=events)
    assert outcome.status == "completed", outcome.problem
    assert any("2 of 5 examples are longer than 20 tokens and left out: d 2" in event.text for event in events)
    job = sft_job(tmp_path / "c" / "s", [], **options, limit=2)
    context = StageContext(job, toy_registry(), lambda event: None)
    assert len(SftStage(job.options).examples(context, LanguageModel.load(tmp_path / "c" / "base"))) == 2
    outcome = run_toy(sft_job(tmp_path / "d" / "s", [], **{**options, "row_tokens": 4}, too_long="drop"))
    assert "all 5 examples are longer than the 4 tokens that fit" in outcome.problem


def test_text_that_would_not_be_read_is_refused():
    with pytest.raises(ValueError, match="none of it would be read"):
        SftConfig(text="x")


def test_real_instructions_and_texts_are_read_in_place(real_data, tmp_path, monkeypatch):
    monkeypatch.setenv("COLLEGIUM_DATA", str(real_data))
    documents = read_documents(real_data / "corpus_stories.jsonl.gz")
    assert len(documents) == 1603
    from collegium.training.data_rows import prompt_of, read_rows

    rows = list(read_rows(real_data / "sft_small_instructions.jsonl", owner="me"))
    assert len(rows) == 1100
    assert all(str(prompt_of(row)).endswith("\n") for _, row in rows)
