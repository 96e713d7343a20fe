"""A function's code is found without importing it, and its change changes the fingerprint."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest

from collegium import ConfigError
from collegium.planning import make_plan
from collegium.plugins.registry import Registry
from collegium.recipe import load_recipe
from collegium_trl_rewards.config import TrlFunctionConfig
from collegium_trl_rewards.locate import code_files, distribution_of


@pytest.fixture
def site(tmp_path, monkeypatch, make_plugin):
    """A toy domain that is installed, and a folder on the path with a package whose import fails: nothing may import it."""
    package = tmp_path / "acme_graders"
    (package / "deep").mkdir(parents=True)
    (package / "__pycache__").mkdir()
    for name in ("__init__.py", "helpers.py", "deep/__init__.py", "deep/form.py"):
        (package / name).write_text("raise RuntimeError('imported')\n")
    (package / "__pycache__" / "helpers.pyc").write_bytes(b"0")
    (tmp_path / "acme_single.py").write_text("raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    make_plugin("acme-toy", plugin=TOY)
    return tmp_path


def test_a_packages_whole_code_counts_and_a_lone_modules_file(site):
    assert [path.relative_to(site).as_posix() for path in code_files("acme_graders.deep.form")] == [
        "acme_graders/__init__.py",
        "acme_graders/deep/__init__.py",
        "acme_graders/deep/form.py",
        "acme_graders/helpers.py",
    ]
    assert code_files("acme_single") == [site / "acme_single.py"]
    assert "acme_graders" not in sys.modules


@pytest.mark.parametrize("module", ["acme_gone", "acme_graders.gone", "acme_single.gone"])
def test_a_module_that_is_not_there_stops_the_plan(site, module):
    with pytest.raises(ConfigError, match="is not there"):
        TrlFunctionConfig(functions=f"{module}:f").content_paths()


def test_the_owner_is_the_distribution_that_installed_the_module():
    assert distribution_of("yaml.loader") == "PyYAML"
    assert distribution_of("acme_unheard_of.form") == "acme_unheard_of.form"


def test_an_edited_function_changes_the_fingerprint_of_the_stage_that_names_it(site):
    recipe = site / "recipe.yaml"
    recipe.write_text(RECIPE)

    def fingerprints() -> dict[str, str]:
        stages = make_plan(load_recipe(recipe), Registry.discover()).stages
        return {name: stage.fingerprint for name, stage in stages.items()}

    before = fingerprints()
    (site / "acme_graders" / "helpers.py").write_text("LIMIT = 3\n")
    after = fingerprints()
    assert [name for name in before if before[name] != after[name]] == ["named"]
    (site / "acme_graders" / "__pycache__" / "helpers.pyc").write_bytes(b"1")
    assert fingerprints() == after


def test_the_recipe_of_the_readme_plans(site):
    text = (Path(__file__).parents[1] / "README.md").read_text()
    block = text.partition("```yaml\n")[2].partition("```")[0]
    block = block.replace("acme_rewards.form", "acme_graders.deep.form").replace("trl.rewards", "acme_single")
    block = (
        block.replace("my-words", "acme-toy/toy").replace("my-verifier", "acme-toy/toy").replace("some-model", "base")
    )
    recipe = site / "recipe.yaml"
    recipe.write_text("collegium: 1\nname: readme\n" + block + textwrap.indent(BASE, "  "))
    plan = make_plan(load_recipe(recipe), Registry.discover())
    assert plan.stages["student"].options["reward"]["use"] == "collegium-trl-rewards/trl-function"


BASE = """\
base:
  use: pretrain
  model: {architecture: llama, sizes: {hidden_size: 32}, tokenizer: {characters: "abc"}}
  steps: 1
"""
RECIPE = f"""\
collegium: 1
name: edited
domains:
  words: {{task: acme-toy/toy, verifier: acme-toy/toy}}
stages:
{textwrap.indent(BASE, "  ")}
  plain: {{use: grpo, init_from: base}}
  named: {{use: grpo, init_from: base, reward: {{use: trl-function, functions: "acme_graders.deep.form:f"}}}}
"""
TOY = """\
from collegium import component, hookimpl

@hookimpl
def register_tasks():
    return [component("toy", "collegium.testing.toy_domain:ToyTasks", "Copy a word.")]

@hookimpl
def register_verifiers():
    return [component("toy", "collegium.testing.toy_domain:ToyVerifier", "Exact match.")]
"""
