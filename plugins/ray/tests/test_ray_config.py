"""What needs no Ray: discovery, options, resources, and the check of the shared folder."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata

import pytest
from pydantic import ValidationError

from collegium import PluginError, RecipeError, StoreError
from collegium.job import StageJob
from collegium.planning import make_plan
from collegium.plugins.registry import Registry
from collegium.recipe import load_recipe
from collegium_ray.config import RayConfig, Resources, require_ray
from collegium_ray.resources import GIB, fits, slots, task_options, wanted
from collegium_ray.shared_folder import require_shared, write_token

CPU_NODE = {"CPU": 8.0, "memory": 16.0 * GIB}
GPU_NODE = {"CPU": 32.0, "GPU": 8.0, "memory": 512.0 * GIB, "fast": 1.0}
RECIPE = """\
collegium: 1
name: ray
executor: {use: ray, address: local}
stages:
  base: {use: pretrain, text: words.txt, steps: 1, model: {tokenizer: {characters: ab}}}
"""


def job(**fields):
    base = {"id": "teacher-math", "use": "a/b", "options": {}, "seed": 1, "domains": {}, "evaluate_on": {}}
    return StageJob(**{**base, "directory": "d", **fields})


def test_the_executor_is_discovered_without_importing_ray():
    code = (
        "import sys\nfrom collegium.plugins.registry import Registry\n"
        "entry = Registry.discover().find('executor', 'ray')\nentry.config_class()\nentry.load()\n"
        "print(entry.id, 'ray' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["collegium-ray/ray", "False"]


def test_without_ray_the_plan_says_what_to_install(tmp_path, monkeypatch):
    real = metadata.version

    def without_ray(name):
        if name == "ray":
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr("collegium_ray.config.metadata.version", without_ray)
    (tmp_path / "words.txt").write_text("ab")
    (tmp_path / "recipe.yaml").write_text(RECIPE.replace("words.txt", str(tmp_path / "words.txt")))
    with pytest.raises(RecipeError) as caught:
        make_plan(load_recipe(tmp_path / "recipe.yaml"), Registry.discover())
    assert "recipe.yaml:3: executor: the executor ray needs Ray, which is not installed [collegium-ray]" in str(
        caught.value
    )
    assert "pip install 'collegium-ray[ray]'" in str(caught.value)


def test_an_old_ray_is_refused_with_its_version(monkeypatch):
    monkeypatch.setattr("collegium_ray.config.metadata.version", lambda _: "2.9.3")
    with pytest.raises(PluginError, match=r"needs Ray 2.50 or newer; 2.9.3 is installed"):
        require_ray()


def test_a_client_address_and_an_unknown_option_are_refused():
    with pytest.raises(ValidationError, match="HOST:PORT of its head"):
        RayConfig(address="ray://head:10001")
    with pytest.raises(ValidationError):
        RayConfig(per_stage={"a": {"gpu": 1}})


def test_a_stages_own_entry_goes_over_patterns_and_patterns_over_the_defaults():
    config = RayConfig(
        cpus=1, custom={"a": 1},
        per_stage={"teacher-math": {"gpus": 8}, "teacher-*": {"gpus": 4, "cpus": 2, "custom": {"b": 2}}},
    )  # fmt: skip
    assert config.of_stage("sft") == Resources(cpus=1, custom={"a": 1})
    assert config.of_stage("teacher-code") == Resources(cpus=2, gpus=4, custom={"a": 1, "b": 2})
    assert config.of_stage("teacher-math") == Resources(cpus=2, gpus=8, custom={"a": 1, "b": 2})


def test_a_job_asks_for_a_gpu_per_process_where_the_cluster_has_gpus_and_for_its_threads():
    spread = job(launch={"strategy": "fsdp2", "processes": 4}, threads=2)
    assert wanted(RayConfig(), spread, [CPU_NODE]) == {"CPU": 8}
    assert wanted(RayConfig(), spread, [CPU_NODE, GPU_NODE]) == {"CPU": 8, "GPU": 4}
    assert wanted(RayConfig(), spread.model_copy(update={"train": False}), [GPU_NODE]) == {"CPU": 2, "GPU": 1}
    assert wanted(RayConfig(gpus=0, memory_gb=1.5, custom={"fast": 1}), spread, [GPU_NODE]) == {
        "CPU": 8, "memory": 1.5 * GIB, "fast": 1,
    }  # fmt: skip
    assert wanted(RayConfig(per_stage={"teacher-math": {"gpus": 8}}), spread, [GPU_NODE])["GPU"] == 8


def test_a_task_fits_as_often_as_its_scarcest_resource():
    assert fits({"CPU": 2, "GPU": 3}, GPU_NODE) == 2
    assert fits({"CPU": 0.1}, {"CPU": 0.3}) == 3
    assert fits({"GPU": 1}, CPU_NODE) == 0
    assert fits({}, CPU_NODE) == 64


@pytest.mark.parametrize(
    ("options", "nodes", "expected"),
    [
        ({}, [CPU_NODE, CPU_NODE], 16),
        ({}, [CPU_NODE, GPU_NODE], 8),
        ({"gpus": 4}, [CPU_NODE, GPU_NODE], 2),
        ({"gpus": 0}, [CPU_NODE, GPU_NODE], 40),
        ({"memory_gb": 10}, [CPU_NODE, CPU_NODE], 2),
        ({"cpus": 100}, [CPU_NODE], 1),
        ({"parallel": 3}, [CPU_NODE], 3),
        ({}, [{"CPU": 500.0}], 64),
    ],
)
def test_as_many_stages_at_once_as_fit(options, nodes, expected):
    assert slots(RayConfig(**options), nodes) == expected


def test_task_options_have_rays_names():
    assert task_options({"CPU": 2.0, "GPU": 1.0, "memory": 1.5 * GIB, "fast": 1.0}) == {
        "num_cpus": 2.0, "num_gpus": 1.0, "memory": int(1.5 * GIB), "resources": {"fast": 1.0},
    }  # fmt: skip
    assert task_options({"CPU": 1.0}) == {"num_cpus": 1.0, "num_gpus": 0, "memory": None, "resources": None}


def test_a_folder_that_a_node_sees_passes(tmp_path):
    token = write_token(tmp_path / "stage")
    require_shared(token, "here", patience_s=0)
    assert token.parent == tmp_path / "stage"


@pytest.mark.parametrize("found", [None, "of another file system"])
def test_a_folder_that_a_node_does_not_see_is_named_with_the_node(tmp_path, found):
    token = write_token(tmp_path)
    token.unlink()
    if found is not None:
        token.write_text(found)
    with pytest.raises(StoreError, match="node far does not see the run's folder") as caught:
        require_shared(token, "far", patience_s=0)
    assert str(tmp_path) in str(caught.value)
    assert "--out DIR" in str(caught.value)
