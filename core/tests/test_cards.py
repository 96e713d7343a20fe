"""Cards: read without importing, strict, with every fault's line; a teacher's hashes are compared by the plan."""

from __future__ import annotations

import hashlib
import json
import sys

import pytest

from collegium.cards import card_entry, ownership_of, read_card, read_measured
from collegium.errors import PluginLoadError, RecipeError
from collegium.planning import make_plan
from collegium.planning.fingerprint import _code_files, folder_digest
from collegium.plugins import Registry
from collegium.recipe import load_recipe

CARD = """\
card: 1
contract: 1
components:
  verifier/units:
    domains: [chemistry]
    sandbox: process
"""


def card_of(make_plugin, text):
    make_plugin("acme-units", card=text, plugin="raise RuntimeError('imported')")
    return read_card("acme_units.plugin", "acme-units")


def faults(make_plugin, text):
    with pytest.raises(PluginLoadError) as caught:
        card_of(make_plugin, text)
    assert {problem.owner for problem in caught.value.problems} == {"acme-units"}
    return caught.value.problems


def test_a_card_is_read_without_importing_its_package(make_plugin):
    entry = card_entry(card_of(make_plugin, CARD), "verifier", "units")
    assert entry is not None
    assert (entry.domains, entry.sandbox, entry.deterministic, entry.network) == (["chemistry"], "process", True, False)
    assert not [name for name in sys.modules if name.startswith("acme_units")]


def test_a_package_without_a_card_has_none(make_plugin):
    assert card_of(make_plugin, None) is None
    assert read_card("no_such_package_at_all.plugin", "acme") is None


@pytest.mark.parametrize(
    ("old", "new", "line", "what", "fix"),
    [
        ("sandbox: process", "sandbocks: process", 6, "unknown key 'sandbocks'", "did you mean 'sandbox'?"),
        ("sandbox: process", "sandbox: docker", 6, "'none', 'process' or 'namespaces'", ""),
        ("contract: 1\n", "", None, "contract: missing", "add 'contract'"),
        ("card: 1", "card: 2", 1, "Input should be 1", ""),
        ("verifier/units", "units", 3, "must be KIND/NAME", ""),
        ("[chemistry]", "[chemistry", 6, "not valid YAML", ""),
        ("contract: 1", "card: 1", 2, "stands twice", "remove one"),
        ("sandbox: process", "think_mode: think", 3, "only a teacher or a task source has think_mode", ""),
    ],
)
def test_a_malformed_card_names_the_line_and_the_owner(make_plugin, old, new, line, what, fix):
    (problem, *_) = faults(make_plugin, CARD.replace(old, new))
    assert what in problem.what
    assert fix in problem.fix
    assert line is None or (problem.where.file.endswith("acme_units/card.yaml") and problem.where.line == line)


def test_a_teacher_is_served_or_has_a_checkpoint(make_plugin):
    both = "card: 1\ncontract: 1\ncomponents:\n  teacher/big: {checkpoint: {path: a/b}, endpoint: 'http://x'}\n"
    assert "not both" in faults(make_plugin, both)[0].what


def test_every_installed_package_of_the_project_has_an_owner_and_a_sound_card():
    for record in Registry.discover().records:
        if record.distribution.startswith("collegium"):
            card = read_card(record.module, record.distribution)
            assert card is not None, record.distribution
            assert set(card.components) == {f"{kind}/{each.name}" for kind, each in record.components}
            assert ownership_of(record.distribution).owner
            assert ownership_of(record.distribution).licence == "Apache-2.0"


def test_what_is_said_beside_the_code_is_not_the_code(make_plugin):
    folder = make_plugin("acme-units", card=CARD, plugin="")
    before = _code_files([folder], ())
    for name in ("card.yaml", "measured.json", "conformance.json"):
        (folder / name).write_text("{}")
    assert _code_files([folder], ()) == before
    (folder / "data.json").write_text("{}")
    assert _code_files([folder], ()) != before


def test_measured_rates_that_are_no_json_are_an_error(make_plugin):
    folder = make_plugin("acme-units", plugin="")
    assert read_measured("acme_units.plugin", "acme-units") is None
    (folder / "measured.json").write_text("[{")
    with pytest.raises(PluginLoadError, match=r"measured\.json cannot be read"):
        read_measured("acme_units.plugin", "acme-units")


TEACHER_PLUGIN = """
from collegium import component, hookimpl

@hookimpl
def register_teachers():
    return [component("big", "acme_big.teacher:Big", "A teacher.")]
"""
TEACHER = """
from pathlib import Path
from collegium import Config, Teacher

class BigConfig(Config):
    path: str | None = None
    def content_paths(self):
        return (Path(self.path),) if self.path else ()

class Big(Teacher):
    Config = BigConfig
"""


@pytest.fixture
def teacher(acme_lab, make_plugin, recipe_file):
    """Return a function that installs a teacher with a checkpoint and a card, and plans a recipe that uses it."""
    package = make_plugin("acme-big", plugin=TEACHER_PLUGIN, teacher=TEACHER)
    folder = package / "model"
    folder.mkdir()
    for name in ("tokenizer.json", "chat_template.jinja", "model.safetensors"):
        (folder / name).write_text(f"content of {name}")

    def plan(use="big", **declared):
        card = {"card": 1, "contract": 1, "components": {"teacher/big": declared}}
        (package / "card.yaml").write_text(json.dumps(card))
        wanted = ("teachers: {from: teacher}", f"teachers: {{math: {{use: {use}}}, code: {{use: {use}}}}}")
        return make_plan(load_recipe(recipe_file(wanted), ()), Registry.discover())

    plan.folder = folder
    return plan


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


def test_a_teacher_that_is_as_its_card_says_is_planned(teacher):
    planned = teacher(
        checkpoint={"path": "model", "digest": folder_digest(teacher.folder)},
        tokenizer=sha("content of tokenizer.json"),
        chat_template=sha("content of chat_template.jinja"),
        think_mode="no-think",
        own_domain={"data": "GSM8K test", "score": 0.9, "n": 1319, "margin": 0.4},
    )
    assert planned.stages["student"].teachers["math"].use == "acme-big/big"


@pytest.mark.parametrize(
    ("declared", "what"),
    [
        ({"checkpoint": {"path": "model", "digest": "0" * 64}}, "checkpoint digest 000000000000"),
        ({"checkpoint": {"path": "model"}, "tokenizer": "0" * 64}, "tokenizer 000000000000"),
        ({"checkpoint": {"path": "model"}, "chat_template": "0" * 64}, "chat template 000000000000"),
    ],
)
def test_a_teacher_that_is_not_as_its_card_says_is_refused_under_its_owners_name(teacher, declared, what):
    with pytest.raises(RecipeError) as caught:
        teacher(**declared)
    (problem,) = caught.value.problems
    assert problem.owner == "acme-big"
    assert what in problem.what


def test_the_folder_that_the_options_name_is_the_one_that_is_compared(teacher, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "tokenizer.json").write_text("other")
    declared = {"checkpoint": {"path": "model"}, "tokenizer": sha("content of tokenizer.json")}
    assert teacher(**declared)
    with pytest.raises(RecipeError, match=r"other' has d9298a10d1b0"):
        teacher(f"big, path: {other}", **declared)


def test_a_checkpoint_that_the_card_places_nowhere_is_refused(teacher):
    with pytest.raises(RecipeError, match="is not there"):
        teacher(checkpoint={"path": "./nowhere", "digest": "0" * 64})


def test_a_malformed_card_stops_the_recipes_that_use_its_package_only(acme_lab, make_plugin, recipe_file):
    make_plugin("acme-units", card="card: [", plugin="")
    assert make_plan(load_recipe(recipe_file(), ()), Registry.discover())
    make_plugin("acme-lab", card="card: 3\ncontract: 1\ncomponents: {}\n")
    with pytest.raises(RecipeError) as caught:
        make_plan(load_recipe(recipe_file(), ()), Registry.discover())
    (problem,) = caught.value.problems
    assert (problem.owner, problem.where.line) == ("acme-lab", 1)
