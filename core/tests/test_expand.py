"""Stages to DAG nodes: fan-out, rounds, and every kind of edge."""

from __future__ import annotations

from collegium.recipe import load_recipe
from collegium.recipe.expand import Expansion

ROUNDS = """\
collegium: 1
name: rounds
domains:
  math: {task: toy, verifier: exact}
  code: {task: toy, verifier: exact}
models: {outside: {path: somewhere}}
stages:
  sft: {use: tune, init_from: outside}
  loop:
    rounds: 3
    stages:
      samples: {use: collect, generate_from: {previous: dpo, first: sft}}
      dpo: {use: tune, init_from: sft, data_from: [samples, {earlier: samples}], reference: {previous: dpo, first: sft}}
  last: {use: tune, init_from: loop/dpo, average_of: [loop/dpo, sft]}
"""


def expand(path):
    expansion = Expansion(load_recipe(path))
    return {node.id: node for node in expansion.nodes}, [str(problem) for problem in expansion.problems]


def test_for_each_domain_fans_out_and_teachers_from_it_are_routed_by_domain(recipe_file):
    nodes, problems = expand(recipe_file())
    assert problems == []
    assert list(nodes) == ["base", "sft", "teacher-math", "teacher-code", "student"]
    assert nodes["teacher-math"].domains == ("math",)
    assert nodes["student"].teachers == {"math": "teacher-math", "code": "teacher-code"}
    assert nodes["student"].inputs["teachers"] == ["teacher-code", "teacher-math"]


def test_a_fanned_out_stage_feeds_the_member_of_the_same_domain(recipe_file):
    nodes, _ = expand(
        recipe_file(("  student", "  more: {use: tune, for_each: domain, init_from: teacher}\n  student"))
    )
    assert nodes["more-code"].inputs["init_from"] == ["teacher-code"]


def test_per_changes_one_member(recipe_file):
    nodes, _ = expand(recipe_file(("for_each: domain,", "for_each: domain, steps: 2, per: {math: {steps: 9}},")))
    assert (nodes["teacher-math"].options["steps"], nodes["teacher-code"].options["steps"]) == (9, 2)


def test_each_round_sees_the_one_before_and_outsiders_see_the_last(recipe_file):
    nodes, problems = expand(recipe_file(text=ROUNDS))
    assert problems == []
    assert nodes["loop-r1-samples"].inputs["generate_from"] == ["sft"]
    assert nodes["loop-r3-samples"].inputs["generate_from"] == ["loop-r2-dpo"]
    assert nodes["loop-r3-dpo"].inputs["data_from"] == ["loop-r3-samples", "loop-r1-samples", "loop-r2-samples"]
    assert nodes["loop-r1-dpo"].inputs["reference"] == ["sft"]
    assert nodes["last"].inputs == {"init_from": ["loop-r3-dpo"], "average_of": ["loop-r3-dpo", "sft"]}


def test_self_and_component_teachers_stand_beside_stages(recipe_file):
    teachers = "{math: {stage: teacher-math}, code: self, chem: {use: checkpoint, path: x}}"
    nodes, problems = expand(recipe_file(("{from: teacher}", teachers)))
    assert problems == []
    assert nodes["student"].teachers["code"] == "self"
    assert nodes["student"].teachers["chem"].options == {"path": "x"}
    assert nodes["student"].inputs["teachers"] == ["teacher-math"]


def problems_with(recipe_file, old, new):
    return "\n".join(expand(recipe_file((old, new)))[1])


def test_a_misspelt_stage_gets_the_nearest_name_and_its_line(recipe_file):
    text = problems_with(recipe_file, "init_from: base", "init_from: bas")
    assert "toy.yaml:9: stages.sft.init_from: no stage or model 'bas'" in text
    assert "did you mean 'base'" in text


def test_weights_from_many_models_are_refused(recipe_file):
    assert "needs one model, found 2" in problems_with(
        recipe_file, "teachers: {from: teacher}", "reference: teacher, teachers: {from: teacher}"
    )


def test_teachers_from_a_single_stage_are_refused(recipe_file):
    assert "'sft' is one stage" in problems_with(recipe_file, "{from: teacher}", "{from: sft}")


def test_per_without_a_member_is_refused(recipe_file):
    assert "`per` names 'chem'" in problems_with(recipe_file, "for_each: domain,", "for_each: domain, per: {chem: {}},")


def test_an_unknown_domain_is_refused(recipe_file):
    assert "no domain 'chem'" in problems_with(recipe_file, "for_each: domain,", "domains: [chem],")


def test_previous_outside_rounds_is_refused(recipe_file):
    assert "only inside a group" in problems_with(recipe_file, "init_from: base", "init_from: {previous: base}")


def test_a_stage_without_use_is_refused(recipe_file):
    assert "stages.base.use: missing" in problems_with(recipe_file, "{use: make}", "{steps: 1}")


def test_two_stages_of_one_id_are_refused(recipe_file):
    extra = "  teacher-math: {use: make}\n  student"
    assert "two stages come out as 'teacher-math'" in problems_with(recipe_file, "  student", extra)
