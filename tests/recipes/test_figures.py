"""Each kind of stage is judged by its own figure, at the stated thresholds."""

from __future__ import annotations

import math

import pytest

from tests.recipes.figures import figure, figures
from tests.recipes.handmade import entry, node, run
from tests.recipes.proportions import Share, change, standard_errors_above

SFT = entry("sft", "collegium-sft/sft", {"math": 0.2, "code": 0.1})
HELDOUT = {"heldout/chance": 0.5, "heldout/length_accuracy": 0.5, "heldout/pairs": 100.0, "heldout/prompts": 100.0}


def test_the_standard_error_of_a_difference_is_that_of_two_proportions():
    found = change([(Share(0.5, 100), Share(0.7, 100))])
    assert found.difference == pytest.approx(0.2)
    assert found.standard_error == pytest.approx(math.sqrt(0.25 / 100 + 0.21 / 100))


def test_over_several_domains_the_standard_error_is_that_of_their_mean():
    found = change([(Share(0.5, 100), Share(0.7, 100)), (Share(0.0, 50), Share(0.5, 50))])
    assert (found.before, found.after) == (pytest.approx(0.25), pytest.approx(0.6))
    assert found.standard_error == pytest.approx(math.sqrt(0.0025 + 0.0021 + 0 + 0.005) / 2)


def test_chance_alone_gives_a_standard_error_of_a_tenth_over_25_pairs():
    assert standard_errors_above(0.8, 0.5, 25) == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("accuracy", "by_length", "prompts", "verdict"),
    [
        (0.65, 0.5, 100.0, "holds"),
        (0.64, 0.5, 100.0, "does not hold"),
        (0.65, 0.6, 100.0, "does not hold"),  # the length of the answers says nearly as much
        (0.65, 0.3, 100.0, "holds"),  # a guess worse than chance is no bar
        (0.65, 0.5, 50.0, "does not hold"),  # pairs of one prompt count once
    ],
)
def test_a_reward_model_must_beat_chance_and_length_by_three_standard_errors(accuracy, by_length, prompts, verdict):
    last = {**HELDOUT, "heldout/accuracy": accuracy, "heldout/length_accuracy": by_length, "heldout/prompts": prompts}
    found = run([entry("rm", "collegium-reward-model/reward-model", {})], [node("rm")], metrics={"rm": [{}, last]})
    assert figure(found, "rm").verdict == verdict


@pytest.mark.parametrize(
    ("margin", "logprob", "verdict", "collapsed"),
    [(0.4, -14.0, "holds", 0.0), (0.4, -15.1, "does not hold", 1.0), (-0.1, -10.0, "does not hold", 0.0)],
)
def test_preferences_must_raise_the_margin_and_keep_what_is_chosen_likely(margin, logprob, verdict, collapsed):
    names = ("margin", "chosen_logprob", "chosen_tokens")
    first = {f"heldout_before/{name}": value for name, value in zip(names, (0.0, -10.0, 10.0), strict=True)}
    last = {f"heldout/{name}": value for name, value in zip(names, (margin, logprob, 10.0), strict=True)}
    found = figure(run([entry("dpo", "collegium-dpo/dpo", {})], [node("dpo")], metrics={"dpo": [first, last]}), "dpo")
    assert (found.verdict, found.numbers["collapsed"]) == (verdict, collapsed)
    assert found.numbers["chosen"] == pytest.approx(logprob / 10)


def rl(scores, use="collegium-grpo/grpo", domains=("math",)):
    return run([SFT, entry("rl", use, scores)], [node("sft"), node("rl", domains, init_from="sft")])


@pytest.mark.parametrize("use", ["collegium-grpo/grpo", "collegium-ppo/ppo"])
def test_rl_is_judged_on_its_own_domains_only(use):
    assert figure(rl({"math": 0.4, "code": 0.0}, use), "rl").verdict == "holds"
    assert figure(rl({"math": 0.2, "code": 1.0}, use), "rl").verdict == "does not hold"


def test_rl_needs_more_than_two_standard_errors():
    found = figure(rl({"math": 0.3}), "rl")
    assert found.numbers["standard_errors"] == pytest.approx(0.1 / math.sqrt(0.16 / 100 + 0.21 / 100))
    assert found.verdict == "does not hold"
    assert found.parts["math"] == {"before": 0.2, "after": 0.3, "tasks": 100.0}


def test_rl_from_a_model_without_scores_is_judged_against_the_nearest_one_that_has_them():
    entries = [SFT, entry("more", "collegium-sft/sft", {}), entry("rl", "collegium-grpo/grpo", {"math": 0.4})]
    nodes = [node("sft"), node("more", init_from="sft", evaluate=False), node("rl", ("math",), init_from="more")]
    losses = [{"loss": 2.0}, {"loss": 1.0}]
    found = run(entries, nodes, metrics={"more": losses})
    told = figure(found, "rl")
    assert (told.numbers["before"], told.note) == (0.2, "against sft, as the recipe does not evaluate its start")
    assert figure(found, "more").numbers == {"loss_before": 2.0, "loss": 1.0}


def test_tasks_that_got_no_score_are_not_counted():
    found = rl({"math": 0.4})
    found.stage("rl")["metrics"]["evaluation/abstained/math"] = 60.0
    assert found.score("rl", "math") == Share(0.4, 40)


TEACHERS = [
    entry("math", "collegium-grpo/grpo", {"math": 0.8, "code": 0.1}),
    entry("coder", "collegium-grpo/grpo", {"math": 0.1, "code": 0.9}),
]


def student(scores, use="collegium-mopd/mopd", domains=("math", "code"), **edges):
    nodes = [node("sft"), node("math", ("math",), init_from="sft"), node("coder", ("code",), init_from="sft")]
    return run(
        [SFT, *TEACHERS, entry("student", use, scores)], [*nodes, node("student", domains, init_from="sft", **edges)]
    )


def test_a_student_is_held_to_its_worst_domain():
    taught = {"math": "math", "code": "coder"}
    found = figure(student({"math": 0.8, "code": 0.75}, teachers=taught), "student")
    assert found.numbers == {"least": pytest.approx(0.8125), "mean": pytest.approx(0.90625), "domains": 2.0}
    assert found.verdict == "holds"
    assert figure(student({"math": 0.8, "code": 0.73}, teachers=taught), "student").verdict == "does not hold"


def test_where_no_teacher_has_a_domains_name_the_best_of_all_is_the_measure():
    found = figure(student({"math": 0.5, "code": 0.5}, teachers={"one": "math", "two": "coder"}), "student")
    assert found.parts["math"] == {"start": 0.2, "teacher": 0.8, "student": 0.5, "captured": pytest.approx(0.5)}
    assert found.parts["code"]["captured"] == pytest.approx(0.5)


def test_a_domain_that_the_student_teaches_itself_has_no_headroom():
    found = figure(student({"math": 0.8, "code": 0.1}, teachers={"math": "math", "code": "self"}), "student")
    assert found.numbers["domains"] == 1.0
    assert "captured" not in found.parts["code"]


def test_without_headroom_a_consolidation_does_not_hold():
    found = figure(student({"math": 0.2, "code": 0.1}, teachers={"math": "self", "code": "self"}), "student")
    assert (found.verdict, found.note) == ("does not hold", "no teacher lies above the start")


def test_a_teacher_from_outside_has_the_score_that_the_admission_gave_it():
    found = student({"math": 0.8, "code": 0.1}, teachers={"math": {"use": "served"}, "code": "self"})
    outside = run(
        found.report["stages"], list(found.nodes.values()), teacher_scores={"student": {"math": {"math": 1.0}}}
    )
    assert figure(outside, "student").numbers["least"] == pytest.approx(0.75)


def test_sft_on_what_better_models_wrote_is_a_consolidation_through_stages_that_pass_data_on():
    found = student({"math": 0.8, "code": 0.9}, "collegium-sft/sft", data_from="mix")
    for each in (
        node("a", ("math",), generate_from="math"),
        node("b", ("code",), generate_from="coder"),
        node("mix", data_from=["a", "b"]),
    ):
        found.nodes[each.id] = each
    assert figure(found, "student").numbers == {"least": pytest.approx(1), "mean": pytest.approx(1), "domains": 2.0}


def test_sft_on_data_alone_is_judged_in_the_domains_of_its_data():
    found = student({"math": 0.3, "code": 0.2}, "collegium-sft/sft", data_from="own", domains=())
    found.nodes["own"] = node("own", ("code",), generate_from="sft")
    assert list(figure(found, "student").parts) == ["code"]


def test_sft_on_what_its_own_start_wrote_is_told_before_and_after():
    found = student({"math": 0.3, "code": 0.2}, "collegium-sft/sft", data_from="own")
    found.nodes["own"] = node("own", generate_from="sft")
    told = figure(found, "student")
    assert (told.kind, told.verdict) == ("SFT", "reported")
    assert (told.numbers["before"], told.numbers["after"]) == (pytest.approx(0.15), pytest.approx(0.25))


def test_a_merge_is_told_against_its_parts():
    found = student({"math": 0.6, "code": 0.6}, "collegium-merge/merge", average_of=["math", "coder"])
    assert figure(found, "student").numbers == {
        "score": pytest.approx(0.6),
        "parts_mean": pytest.approx(0.475),
        "parts_best": pytest.approx(0.5),
    }


def test_data_is_told_by_its_rows():
    sampling = entry("rs", "collegium-rejection-sampling/rejection-sampling", {}, rollouts=80)
    data = entry("mix", "collegium-data/mix", {})
    rows = {"rs": {"data": 12, "pairs": 3}, "mix": {"data": 7}}
    found = run([sampling, data], [node("rs"), node("mix")], rows=rows, metrics={"rs": [{"pass@1": 0.25}]})
    told = [each.numbers for each in figures(found)]
    assert told == [{"rows data": 12, "rows pairs": 3, "sampled": 80.0, "pass@1": 0.25}, {"rows data": 7}]


@pytest.mark.parametrize(
    ("use", "why"),
    [
        ("collegium-dpo/dpo", "no metric 'heldout_before/margin'"),
        ("collegium-reward-model/reward-model", "no metric 'heldout/accuracy'"),
        ("collegium-grpo/grpo", "has a score on none of its domains"),
        ("collegium-rejection-sampling/rejection-sampling", "leaves no row"),
        ("acme/new-stage", "no figure is defined for acme/new-stage"),
    ],
)
def test_a_figure_that_cannot_be_found_is_said_to_be_missing(use, why):
    found = figure(run([entry("one", use, {})], [node("one", init_from="sft")]), "one")
    assert found.verdict == "missing"
    assert why in found.note


def test_a_start_from_outside_the_recipe_has_no_score():
    found = run([entry("rl", "collegium-grpo/grpo", {"math": 0.4})], [node("rl", ("math",), init_from="hub")])
    assert "'hub' is from outside the recipe" in figure(found, "rl").note
