"""The stage: what it leaves trains a better model, it resumes exactly, and it says why it cannot go on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from collegium.job import ErrorPolicy, InputArtifact, StageEvent, StageJob, StageOutcome
from collegium.plugins.registry import Registry
from collegium.testing.stages import journal_of, run_and_kill, run_toy, toy_domain, toy_job, toy_model
from collegium.testing.toy_domain import ToyVerifier
from collegium.verdict import Abstain

STAGE = "collegium-rejection-sampling/rejection-sampling"
OPTIONS: dict[str, Any] = {"samples": 4, "batch": 16, "prompts": 64, "sampling": {"max_tokens": 6}}
SFT: dict[str, Any] = {"steps": 150, "lr": 5e-3, "batch": 32, "row_tokens": 48}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("base")
    toy_model().save(path)
    return path


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, base: Path) -> tuple[Path, StageOutcome]:
    """A model that learnt to copy from demonstrations of which half reverse."""
    domain = toy_domain("copy", right=0.5)
    job = toy_job("collegium-sft/sft", SFT, tmp_path_factory.mktemp("run") / "first", domains=[domain],
                  inputs={"init_from": base}, evaluate=True)  # fmt: skip
    outcome = run_toy(job)
    assert outcome.status == "completed", outcome.problem
    return Path(job.directory) / "output" / "model", outcome


@pytest.fixture(scope="module")
def model(first: tuple[Path, StageOutcome]) -> Path:
    return first[0]


def sampling_job(directory: Path, model: Path, inputs: dict[str, Path] | None = None, **options: Any) -> StageJob:
    edges = {"generate_from": model, **(inputs or {})}
    return toy_job(STAGE, {**OPTIONS, **options}, directory, domains=[toy_domain("copy")], inputs=edges)


def rows_of(job: StageJob, name: str = "data.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(job.directory) / "output" / "data" / name).read_text().splitlines()]


def completed(job: StageJob) -> StageJob:
    outcome = run_toy(job)
    assert outcome.status == "completed", outcome.problem
    return job


def test_a_model_trained_on_what_was_kept_scores_higher_than_the_one_that_sampled(tmp_path, base, first):
    model, before = first
    samples = completed(sampling_job(tmp_path / "samples", model, prompts=None, samples=8, batch=64))
    metrics = journal_of(samples)[-1]
    assert metrics["pass@1"] + 0.2 < metrics["pass@K"]
    data = Path(samples.directory) / "output" / "data"
    job = toy_job("collegium-sft/sft", {**SFT, "domains": []}, tmp_path / "second", domains=[toy_domain("copy")],
                  inputs={"init_from": base, "data_from": data}, evaluate=True)  # fmt: skip
    after = run_toy(job)
    assert after.status == "completed", after.problem
    assert after.scores["copy"] >= max(0.9, before.scores["copy"] + 0.2)


def test_every_row_is_right_and_says_where_it_comes_from(tmp_path, model):
    job = completed(sampling_job(tmp_path / "s", model))
    rows, pairs, metrics = rows_of(job), rows_of(job, "pairs.jsonl"), journal_of(job)[-1]
    assert all(row["completion"] == row["prompt"][1:-1] for row in rows)
    assert len({row["prompt"] for row in rows}) == len(rows) == metrics["prompts"] * metrics["kept/prompts"]
    assert metrics["prompts"] == 64
    assert metrics["prompts/left_out"] == 64 - len(rows)
    assert {(row["source"], row["round"], row["domain"], row["score"]) for row in rows} == {
        ("generate_from", 1, "copy", 1.0)
    }
    assert pairs
    assert all(row["chosen"] == row["prompt"][1:-1] != row["rejected"] and row["scores"] == [1, 0] for row in pairs)
    assert metrics["pairs"] == len(pairs)


def test_the_seed_decides_the_rows(tmp_path, model):
    one, same = (completed(sampling_job(tmp_path / name / "s", model)) for name in ("one", "same"))
    other = sampling_job(tmp_path / "other" / "s", model).model_copy(update={"seed": 2})
    assert rows_of(one) == rows_of(same)
    assert rows_of(one) != rows_of(completed(other))


def test_a_killed_stage_ends_with_the_rows_of_one_that_was_not(tmp_path, model):
    whole = completed(sampling_job(tmp_path / "whole" / "s", model, batch=8))
    killed = sampling_job(tmp_path / "killed" / "s", model, batch=8).model_copy(update={"checkpoint_every": 3})
    assert run_and_kill(killed, step=5) == -9
    assert not (Path(killed.directory) / "output").exists()
    events: list[StageEvent] = []
    outcome = run_toy(killed, events=events)
    assert [event.step for event in events if event.kind == "step"] == [4, 5, 6, 7, 8]
    assert outcome.rollouts == 64 * 4
    for name in ("data.jsonl", "pairs.jsonl"):
        assert rows_of(whole, name) == rows_of(killed, name)
    assert journal_of(whole) == journal_of(killed)


def test_a_stage_killed_after_its_last_step_leaves_its_data(tmp_path, model):
    job = completed(sampling_job(tmp_path / "s", model))
    before = rows_of(job)
    (Path(job.directory) / "output" / "data" / "data.jsonl").unlink()
    assert rows_of(completed(job)) == before


def test_completions_that_do_not_fit_the_checkpoint_start_the_stage_anew(tmp_path, model):
    job = completed(sampling_job(tmp_path / "s", model))
    before = rows_of(job)
    file = Path(job.directory) / "judged.jsonl"
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-5]))
    events: list[StageEvent] = []
    assert run_toy(job, events=events).status == "completed"
    assert any("starts anew" in (event.text or "") for event in events)
    assert rows_of(job) == before


def test_several_models_sample_and_the_best_of_all_is_kept(tmp_path, base, model):
    job = sampling_job(tmp_path / "s", model)
    sources = [InputArtifact(source=name, path=str(path)) for name, path in (("raw", base), ("first", model))]
    job = completed(job.model_copy(update={"inputs": {"generate_from": sources}}))
    assert run_toy(job).rollouts == 2 * 64 * 4
    kept = [row["source"] for row in rows_of(job)]
    assert kept.count("first") > 10 * kept.count("raw")  # random weights hardly ever hit a word
    assert {name for row in rows_of(job, "pairs.jsonl") for name in row["source"]} == {"first", "raw"}


def test_earlier_rounds_rows_are_kept_and_the_round_counts_on(tmp_path, model):
    one = completed(sampling_job(tmp_path / "one", model))
    data = Path(one.directory) / "output" / "data"
    two = completed(sampling_job(tmp_path / "two", model, {"data_from": data}, prompts=32))
    rows = rows_of(two)
    assert {row["round"] for row in rows} == {1, 2}
    assert {row["prompt"] for row in rows_of(one)} <= {row["prompt"] for row in rows}
    assert len({(row["prompt"], row["completion"]) for row in rows}) == len(rows)
    assert {row["round"] for row in rows_of(two, "pairs.jsonl")} == {2}


def test_rows_of_another_kind_are_refused(tmp_path, model):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "data.jsonl").write_text('{"prompt": "#abc=", "completion": "abc"}\n')
    outcome = run_toy(sampling_job(tmp_path / "s", model, {"data_from": tmp_path / "data"}))
    assert (outcome.kind, outcome.owner) == ("DataError", "collegium-rejection-sampling")
    assert "data.jsonl:1: expected a row of a rejection-sampling stage, and score, round is missing" in outcome.problem


def test_if_nothing_is_right_the_stage_fails_and_says_so(tmp_path, base):
    outcome = run_toy(sampling_job(tmp_path / "s", base, prompts=8, samples=1))
    assert (outcome.status, outcome.kind) == ("failed", "DataError")
    assert "none of 8 prompts has a completion that ended and scores at least 1.0" in outcome.problem


def test_what_a_verifier_abstains_from_is_neither_right_nor_wrong(tmp_path, model, monkeypatch):
    class Choosy(ToyVerifier):
        def verify(self, completion, task):
            return Abstain("not mine") if task.prompt_text[1] in "abc" else super().verify(completion, task)

    monkeypatch.setattr("collegium.testing.toy_domain.ToyVerifier", Choosy)
    job = completed(sampling_job(tmp_path / "s", model))
    assert all(row["prompt"][1] not in "abc" for row in rows_of(job) + rows_of(job, "pairs.jsonl"))
    assert 0.2 < journal_of(job)[-1]["verdicts/abstain"] < 0.8


def test_episodes_are_kept_as_turns_and_sft_on_them_trains_none_of_the_environments(tmp_path, base):
    domain = toy_domain("copy", {"partial": True}, environment={"max_turns": 4, "broken": "a"})
    options = {**OPTIONS, "samples": 8, "prompts": 24, "keep": 3, "min_score": 0.0, "sampling": {"max_tokens": 14}}
    job = toy_job(
        STAGE, options, tmp_path / "s", domains=[domain], inputs={"generate_from": base}, errors=ErrorPolicy(budget=1.0)
    )
    rows = rows_of(completed(job))
    several = [row for row in rows if len(row["completion"]) > 1]
    assert several
    for row in several:
        assert row["prompt"][1] != "a"  # its environment fails
        assert row["completion"][-1]["sampled"]
        assert [turn["text"].endswith("=") for turn in row["completion"] if not turn["sampled"]]
    data = Path(job.directory) / "output" / "data"
    options = {**SFT, "steps": 1, "batch": len(rows), "row_tokens": 64, "domains": []}
    sft = completed(
        toy_job("collegium-sft/sft", options, tmp_path / "t", domains=[], inputs={"init_from": base, "data_from": data})
    )
    own = [turn["text"] for row in rows for turn in row["completion"] if turn["sampled"]]
    ends = len(own)
    (step,) = journal_of(sft)
    assert step["tokens"] == sum(len(text.replace("<pad>", ".")) for text in own) + ends


def test_every_filter_must_score_1(tmp_path, model):
    filters = [{"use": "collegium-toy/toy"}, {"use": "length", "max": 2, "unit": "characters"}]
    job = completed(sampling_job(tmp_path / "s", model, keep_if=filters[:1], min_score=0.0))
    assert all(row["completion"] == row["prompt"][1:-1] for row in rows_of(job))
    assert 0.2 < journal_of(job)[-1]["filtered"] < 0.8
    outcome = run_toy(sampling_job(tmp_path / "t", model, keep_if=filters))
    assert outcome.kind == "DataError"


def test_only_the_prompts_that_an_earlier_stage_names_are_sampled(tmp_path, model):
    (tmp_path / "prompts").mkdir()
    rows = [{"domain": "copy", "task": f"#{word}"} for word in ("abc", "bcd")]
    (tmp_path / "prompts" / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    job = completed(sampling_job(tmp_path / "s", model, {"prompts_from": tmp_path / "prompts"}, min_score=0.0))
    assert {row["task"] for row in rows_of(job)} == {"#abc", "#bcd"}


def test_errors_beyond_the_budget_stop_the_stage_and_name_the_owner(tmp_path, model, monkeypatch):
    class Broken(ToyVerifier):
        def verify(self, completion, task):
            raise RuntimeError("broken")

    monkeypatch.setattr("collegium.testing.toy_domain.ToyVerifier", Broken)
    job = sampling_job(tmp_path / "s", model).model_copy(update={"errors": ErrorPolicy(budget=0.1)})
    outcome = run_toy(job)
    assert (outcome.kind, outcome.owner) == ("VerifierError", "collegium-toy")


def test_the_plugin_is_found_and_planned_without_torch():
    config = Registry.discover().find("stage", "rejection-sampling").config_class()
    assert (config.produces, config.requires) == ("data", {"generate_from"})
    code = "import sys, collegium_rejection_sampling.plugin, collegium_rejection_sampling.configs as c; "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
