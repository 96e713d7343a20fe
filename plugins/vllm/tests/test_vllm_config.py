"""Options, discovery, and what a plan says where vLLM is not installed."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pytest
from pydantic import ValidationError

from collegium import ConfigError
from collegium.errors import RecipeError
from collegium.planning import make_plan
from collegium.plugins import Registry
from collegium.recipe import load_recipe
from collegium_vllm import installed
from collegium_vllm.config import VllmConfig, VllmServerConfig

RECIPE = """
collegium: 1
name: two-stages
domains: {math: {task: arithmetic, verifier: math}}
stages:
  base: {use: pretrain, model: {architecture: llama, tokenizer: {characters: "0123456789+-*/=; "}}, steps: 1}
  rl: {use: grpo, init_from: base, steps: 1, engine: vllm}
"""


@pytest.fixture
def without_vllm(monkeypatch):
    monkeypatch.setattr(installed, "DISTRIBUTIONS", ("no-such-build-of-vllm",))


def test_the_distribution_is_discovered_by_its_entry_point():
    (found,) = entry_points(group="collegium", name="collegium-vllm")
    assert found.value == "collegium_vllm.plugin"
    registry = Registry.discover()
    engines = {entry.component.name for entry in registry.entries("engine")}
    assert {"vllm", "vllm-server"} <= engines


def test_plugin_and_options_import_nothing_heavy():
    code = (
        "import sys, collegium_vllm.plugin, collegium_vllm.config\n"
        "assert not {'torch', 'vllm', 'httpx', 'transformers'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "http://host:8000", "port": 9000}, "the running server decides on port"),
        ({"url": "http://host:8000", "max_model_len": 64}, "the running server decides on max_model_len"),
        ({"api_key_env": "KEY"}, "api_key_env belongs to url"),
        ({"url": "http://host:8000"}, "url needs api_key_env"),
        ({"url": "http://user:secret@host:8000"}, "url"),
        ({"url": "host:8000"}, "url"),
        ({"url": "http://host", "api_key_env": "sk-this is a key"}, "api_key_env"),
        ({"concurrency": 0}, "concurrency"),
        ({"speed": 1}, "speed"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValidationError, match=message):
        VllmServerConfig(**options)


@pytest.mark.parametrize("config", [VllmConfig(), VllmServerConfig()])
def test_without_vllm_the_options_are_valid_and_a_plan_is_not(config, without_vllm):
    with pytest.raises(ConfigError, match=r"pip install 'collegium-vllm\[gpu\]'.*'collegium-vllm\[cpu\]'") as caught:
        config.content_paths()
    assert caught.value.owner == "collegium-vllm"


def test_a_server_by_url_needs_no_vllm_here(without_vllm):
    assert VllmServerConfig(url="https://host:8000/v1", api_key_env="KEY").content_paths() == ()


def test_any_build_of_vllm_will_do(monkeypatch):
    monkeypatch.setattr(installed, "DISTRIBUTIONS", ("no-such-build-of-vllm", "pytest"))
    installed.require_vllm("vllm")


def test_a_plan_gives_one_error_with_the_line_to_run(tmp_path, without_vllm):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE)
    with pytest.raises(RecipeError) as caught:
        make_plan(load_recipe(recipe), Registry.discover())
    mine = [problem for problem in caught.value.problems if problem.owner == "collegium-vllm"]
    assert len(mine) == 1
    assert "pip install 'collegium-vllm[gpu]'" in str(mine[0])
