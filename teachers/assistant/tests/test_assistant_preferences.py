"""Rankings from demonstrations, and the stage that writes them for a reward model."""

import json
import random

import pytest
from pydantic import ValidationError

from collegium import Demonstration, Task
from collegium.component import Use
from collegium.job import DomainSpec
from collegium.testing.stages import journal_of, run_toy, toy_job
from collegium_teacher_assistant.rankings import add_worse, pair_rows, rank, ranking_row
from collegium_teacher_assistant.stage_config import PreferenceDataConfig

ORDER = ["polite", "plain", "impolite"]


def shown(prompt, **answers):
    return [Demonstration(Task(prompt, prompt), text, quality) for quality, text in answers.items()]


def test_answers_of_a_prompt_are_ranked_by_quality_and_each_text_counts_once_at_its_best():
    (ranking,) = rank(shown("q", impolite="c", plain="a", polite="a", other="d"), ORDER)
    assert ranking.completions == ("a", "c")
    assert ranking.qualities == ("polite", "impolite")


def test_of_two_answers_of_one_quality_the_first_counts():
    (ranking,) = rank([*shown("q", polite="a"), *shown("q", polite="b"), *shown("q", plain="c")], ORDER)
    assert ranking.completions == ("a", "c")


def test_worse_completions_are_a_cut_of_the_worst_and_the_best_of_another_prompt():
    rankings = rank(
        [*shown("q", polite="good one", plain="bad one"), *shown("r", polite="other", plain="worse")], ORDER
    )
    for seed in range(5):
        first, _ = add_worse(rankings, ["cut", "unrelated"], random.Random(seed))
        assert first.completions in (("good one", "bad one", "bad", "other"), ("good one", "bad one", "bad"))
        assert first.qualities[:3] == ("polite", "plain", "cut")


def test_a_row_of_two_completions_has_a_rating_and_one_of_more_has_none():
    two, three = rank([*shown("q", polite="a", plain="b"), *shown("r", polite="a", plain="b", impolite="c")], ORDER)
    ratings = {"plain": "slightly", "impolite": "significantly"}
    assert ranking_row(two, ratings) == {"prompt": "q", "completions": ["a", "b"], "margin": "slightly"}
    assert ranking_row(three, ratings) == {"prompt": "r", "completions": ["a", "b", "c"]}


def test_pairs_are_all_there_are_each_rated_by_its_worse_completion():
    (ranking,) = rank(shown("q", polite="a", plain="b", impolite="c"), ORDER)
    assert list(pair_rows(ranking, {"impolite": "significantly"})) == [
        {"prompt": "q", "chosen": "a", "rejected": "b"},
        {"prompt": "q", "chosen": "a", "rejected": "c", "margin": "significantly"},
        {"prompt": "q", "chosen": "b", "rejected": "c", "margin": "significantly"},
    ]


def domain(source, **options):
    return DomainSpec(
        name=source,
        task=Use(use=f"collegium-teacher-assistant/{source}", options=options),
        verifier=Use(use="collegium-toy/toy"),
    )


def run(tmp_path, *domains, **options):
    job = toy_job("collegium-teacher-assistant/preference-data", options, tmp_path / "preferences", domains=domains)
    outcome = run_toy(job)
    return job, outcome


def rows_of(job):
    file = f"{job.directory}/output/data/pairs.jsonl"
    with open(file, encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def test_the_stage_writes_every_training_prompt_and_no_heldout_one(tmp_path):
    job, outcome = run(tmp_path, domain("assistant", data="generated"), worse=["cut", "unrelated"])
    assert outcome.status == "completed", outcome.problem
    rows = rows_of(job)
    assert len(rows) == 462
    assert sum(len(row["completions"]) == 4 for row in rows) > 450
    assert journal_of(job)[-1]["prompts"] == 462


def test_pairs_of_the_safety_domain_are_rated_by_the_harm(tmp_path):
    ratings = {"curt": "slightly", "slight harm": "slightly", "harm": "better", "severe harm": "significantly"}
    job, outcome = run(tmp_path, domain("safety", train=60, heldout=10), form="pairs", ratings=ratings, most=50)
    assert outcome.status == "completed", outcome.problem
    rows = rows_of(job)
    assert len(rows) == 150
    burning = [row for row in rows if row["prompt"].startswith("Help me burn") and row["rejected"].startswith("Yes, I")]
    assert all(row["margin"] == "significantly" for row in burning)


def test_the_same_seed_gives_the_same_rows(tmp_path):
    first, _ = run(tmp_path / "a", domain("assistant", data="generated"), worse=["unrelated"])
    second, _ = run(tmp_path / "b", domain("assistant", data="generated"), worse=["unrelated"])
    assert rows_of(first) == rows_of(second)


def test_a_reward_model_reads_the_rows(tmp_path):
    rankings = pytest.importorskip("collegium_reward_model.rankings")
    job, _ = run(tmp_path, domain("assistant", data="generated"), worse=["cut"], most=20)
    assert len(rankings.read_rankings(tmp_path / "preferences" / "output" / "data")) == 20
    assert rows_of(job)


def test_no_prompt_with_two_qualities_is_an_error(tmp_path):
    _, outcome = run(tmp_path, domain("safety", train=10, heldout=5), order=["polite", "plain"])
    assert outcome.status == "failed"
    assert "no prompt with answers of two qualities" in str(outcome.problem)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"ratings": {"rude": "better"}}, "neither order nor worse"), ({"order": ["a", "b", "a"]}, "names a twice")],
)
def test_options_that_do_not_fit_together_are_refused(options, said):
    with pytest.raises(ValidationError, match=said):
        PreferenceDataConfig(**options)
