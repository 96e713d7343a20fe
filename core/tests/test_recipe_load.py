"""Recipe text to typed recipe: layers, overrides, and every fault with its place."""

from __future__ import annotations

import pytest
import yaml

from collegium.errors import RecipeError
from collegium.recipe import load_recipe


def failure(path, *overrides, profile=None):
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, overrides, profile)
    return caught.value.problems


def test_layers_win_in_order_base_file_profile_command_line(recipe_file):
    recipe_file(
        text="collegium: 1\nname: base\nseed: 1\nthreads: 1\ncheckpoint_every: 1\nstages: {a: {use: make}}\n",
        name="base.yaml",
    )
    text = "extends: base.yaml\nname: top\nthreads: 2\ncheckpoint_every: 2\nprofile: lab\nprofiles: {lab: {checkpoint_every: 3, seed: 3}}\n"
    path = recipe_file(text=text)
    recipe = load_recipe(path, ["seed=4"]).recipe
    assert (recipe.name, recipe.threads, recipe.checkpoint_every, recipe.seed) == ("top", 2, 3, 4)


def test_interpolation_is_resolved(recipe_file):
    path = recipe_file(("{use: make}", "{use: make, steps: '${seed}'}"))
    assert load_recipe(path).resolved["stages"]["base"]["steps"] == 5


def test_a_saved_resolved_recipe_loads_to_the_same_recipe(recipe_file, tmp_path):
    path = recipe_file(("seed: 5", "seed: 5\nprofiles: {lab: {seed: 6}, node: {seed: 7}}"))
    first = load_recipe(path, ["seed=8"])
    saved = tmp_path / "saved.yaml"
    saved.write_text(yaml.safe_dump(first.resolved))
    second = load_recipe(saved)
    assert second.recipe.seed == 8
    assert second.resolved == first.resolved


def test_a_profile_may_remove_a_stage(recipe_file):
    path = recipe_file(("seed: 5", "profiles: {lab: {}, node: {stages: {base: null}}}"))
    assert "base" not in load_recipe(path, profile="node").recipe.stages


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("seed: 5", "sed: 5", 3, "unknown key 'sed'"),
        ("seed: 5", "seed: many", 3, "seed: Input should be a valid integer"),
        ("seed: 5", "evaluation:\n  samplng: {}", 4, "evaluation.samplng: unknown key 'samplng'"),
        ("verifier: exact}\n  code", "verfier: exact}\n  code", 5, "domains.math.verfier: unknown key"),
        ("collegium: 1", "collegium: 9", 1, "collegium: Input should be 1"),
    ],
)
def test_a_fault_names_file_line_and_key(recipe_file, old, new, line, words):
    path = recipe_file((old, new))
    problem = failure(path)[0]
    assert problem.where is not None
    assert (problem.where.file, problem.where.line) == (str(path), line)
    assert words in problem.what


@pytest.mark.parametrize(("wrong", "right"), [("sed", "seed"), ("excutor", "executor"), ("stage", "stages")])
def test_an_unknown_key_gets_the_nearest_valid_one(recipe_file, wrong, right):
    problems = failure(recipe_file(("seed: 5", f"{wrong}: 5")))
    assert f"did you mean {right!r}?" in [problem.fix for problem in problems]


def test_all_faults_come_in_one_error(recipe_file):
    assert len(failure(recipe_file(("seed: 5", "sed: 5\nthread: 1")))) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("collegium: 1\n  name: [", "not valid YAML"),
        ("- a list", "must be a mapping"),
        ("collegium: 1\nname: a\nname: b\nstages: {}", "'name' stands twice"),
        ("name: a\nstages: {a: {use: b}}", "must begin with `collegium: 1`"),
        ("collegium: 1\nname: a\nstages: {}", "at least one stage"),
        ("collegium: 1\nname: a\nseed: ${nowhere}\nstages: {a: {use: b}}", "nowhere"),
        ("collegium: 1\nname: a\nextends: toy.yaml\nstages: {a: {use: b}}", "in a circle"),
        ("collegium: 1\nname: a\nextends: 5\nstages: {a: {use: b}}", "extends: expected a file"),
        ("collegium: 1\nname: '${'\nstages: {a: {use: b}}", "cannot be read as a recipe"),
        ("collegium: 1\nname: 2020-01-01\nstages: {a: {use: b}}", "cannot be read as a recipe"),
        ("collegium: 1\nname: a\nprofiles: [lab]\nstages: {a: {use: b}}", "cannot be read as a recipe"),
        ("collegium: 1\nname: a\nseed: " + "[" * 3000 + "]" * 3000, "cannot be read as a recipe"),
        ("collegium: 1\nname: a\nseed: ${oc.env:HOME}\nstages: {a: {use: b}}", "oc.env"),
        (
            "a: &a [1,1,1,1,1,1,1,1,1,1]\n"
            + "".join(f"{x}: &{x} [{','.join(['*' + y] * 10)}]\n" for x, y in zip("bcdefgh", "abcdefg", strict=True)),
            "keys, aliases written out",
        ),
        ("collegium: 1\nname: a\nextends: missing.yaml\nstages: {a: {use: b}}", "no recipe at"),
    ],
)
def test_unreadable_text_is_one_clear_error(recipe_file, text, words):
    assert words in failure(recipe_file(text=text))[0].what


def test_a_binary_file_is_one_clear_error(tmp_path):
    path = tmp_path / "toy.yaml"
    path.write_bytes(b"\xff\xfe\x00\x01")
    assert "cannot read recipe" in failure(path)[0].what


def test_an_unknown_profile_lists_those_there_are(recipe_file):
    problem = failure(recipe_file(("seed: 5", "profiles: {lab: {}, node: {}}")), profile="nod")[0]
    assert "it has: lab, node" in problem.what
    assert "did you mean 'node'" in problem.fix


def test_a_malformed_override_names_the_command_line(recipe_file):
    problem = failure(recipe_file(), "seed")[0]
    assert str(problem.where) == "command line"


@pytest.mark.parametrize(
    ("override", "fix"),
    [
        ("stages.techer.steps=1", "did you mean 'teacher'"),
        ("stages.teacher-math.steps=1", "stages.teacher.per.math.KEY=VALUE"),
    ],
)
def test_an_override_of_a_stage_that_is_not_there_is_refused(recipe_file, override, fix):
    problem = failure(recipe_file(), override)[0]
    assert "to override" in problem.what
    assert fix in problem.fix


def test_an_override_may_add_a_stage(recipe_file):
    assert "more" in load_recipe(recipe_file(), ["stages.more.use=make"]).recipe.stages


def test_a_wrong_override_names_the_command_line(recipe_file):
    problem = failure(recipe_file(), "sed=4")[0]
    assert str(problem.where) == "command line"
