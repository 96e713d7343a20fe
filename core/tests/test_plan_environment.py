"""Environments in plans: resolved, validated, demanded by tasks, and part of the fingerprints."""

from __future__ import annotations

import pytest

from collegium.errors import RecipeError
from collegium.planning import make_plan
from collegium.plugins import Registry
from collegium.recipe import load_recipe
from collegium.testing.conformance import check_component

MATH = "math: {task: toy, verifier: exact}"
TALK = """

@hookimpl
def register_environments():
    return [component("desk", "acme_lab.talk:Desk", "A desk."), component("lobby", "acme_lab.talk:Desk", "A lobby.")]
"""
DESK = """
from collegium import Environment, EnvironmentConfig, Episode

class DeskConfig(EnvironmentConfig):
    loud: bool = False
    \"\"\"Whether it shouts.\"\"\"

class Talk(Episode):
    def reply(self, text):
        return None

class Desk(Environment):
    Config = DeskConfig
    def open(self, task):
        return Talk()
"""


@pytest.fixture(autouse=True)
def lab(acme_lab, lab_modules):
    """Install acme-lab with environments; returns what installs it with changed modules."""

    def install(**changes):
        return acme_lab(**{"plugin": lab_modules["plugin"] + TALK, "talk": DESK, **changes})

    install()
    return install


def plan(path):
    return make_plan(load_recipe(path, ()), Registry.discover())


def failure(path):
    with pytest.raises(RecipeError) as caught:
        plan(path)
    return caught.value.problems


def test_a_domains_environment_is_resolved_with_its_defaults(recipe_file):
    planned = plan(recipe_file((MATH, "math: {task: toy, verifier: exact, environment: {use: desk, max_turns: 3}}")))
    found = planned.domains["math"].environment
    assert found.use == "acme-lab/desk"
    assert found.options == {"max_turns": 3, "max_context": None, "prefix": "", "suffix": "", "loud": False}
    assert planned.domains["code"].environment is None
    assert "environment:acme-lab/desk" in planned.entries


@pytest.mark.parametrize(
    ("environment", "what"),
    [("dsk", "dsk"), ("{use: desk, max_turns: 0}", "max_turns"), ("{use: desk, quiet: true}", "quiet")],
)
def test_an_environment_that_is_not_there_or_has_wrong_options_is_a_fault_of_the_plan(recipe_file, environment, what):
    text = f"math: {{task: toy, verifier: exact, environment: {environment}}}"
    (problem,) = failure(recipe_file((MATH, text)))
    assert "domains.math.environment" in problem.what
    assert what in problem.what


@pytest.mark.parametrize("given", ["", ", environment: lobby"])
def test_tasks_that_need_an_environment_are_not_planned_without_it(recipe_file, lab, lab_modules, given):
    lab(light=lab_modules["light"].replace('verifier = "exact"', 'environment = "desk"'))
    text = "{task: toy, verifier: exact, environment: desk}"
    (problem,) = failure(
        recipe_file((MATH, MATH.replace("}", given + "}")), ("code: {task: toy, verifier: exact}", f"code: {text}"))
    )
    assert "are made for the environment 'desk'" in problem.what
    assert problem.fix == "environment: desk"
    assert problem.owner == "acme-lab"


def test_an_environment_changes_what_samples_and_judges_and_leaves_pretraining_alone(recipe_file):
    def fingerprints(environment):
        text = f"math: {{task: toy, verifier: exact, environment: {environment}}}"
        return {stage.id: stage.fingerprint for stage in plan(recipe_file((MATH, text))).stages.values()}

    before, after = fingerprints("desk"), fingerprints("{use: desk, loud: true}")
    assert {name for name in before if before[name] != after[name]} == set(before) - {"base"}


@pytest.mark.parametrize(
    ("body", "check"),
    [
        ("return len(text)", "replies-to-anything"),
        ("raise ValueError(text)", "replies-to-anything"),
        ("import random; return str(random.random())", "equal-episodes-get-equal-replies"),
        ("Talk.said = getattr(Talk, 'said', 0) + 1; return str(Talk.said)", "episodes-apart"),
    ],
)
def test_the_kit_finds_what_is_wrong_with_an_environment(lab, body, check):
    lab(talk=DESK.replace("return None", body))
    found = {result.check: result.status for result in check_component("environment", "acme-lab/desk")}
    assert found[check] == "failed"


def test_the_kit_passes_an_environment_that_keeps_the_contract():
    results = {result.check: result.status for result in check_component("environment", "acme-lab/desk")}
    assert "failed" not in {results[name] for name in results if name != "card"}
    assert results["episodes-apart"] == "passed"
