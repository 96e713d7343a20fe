"""From nothing to a package in a recipe: written, built, installed beside the core, tested, shown, planned and run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import get_args

import pytest

import collegium
from collegium.scaffold.kinds import SPECS, PackageKind

CORE = Path(collegium.__file__).parents[1]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
BUILD = ["--no-build-isolation", "--no-deps"]


class Bench:
    """A folder to work in, and a site folder that stands on PYTHONPATH: what a user's environment is to them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.site = folder / "site"
        path = [str(self.site), str(CORE), os.environ.get("PYTHONPATH", "")]
        self.environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "OMP_NUM_THREADS": "1"}

    def run(self, *command, cwd=None):
        command = [sys.executable, "-m", *map(str, command)]
        folder = cwd or self.folder
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=self.environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def add(self, kind, name, *options):
        """Write a package and install it, as `pip install` does, from the wheel that it builds."""
        self.run("collegium", "new", kind, name, *options)
        subprocess.run([*PIP, "install", *BUILD, "--target", self.site, self.folder / name], check=True)
        return self.folder / name


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


@pytest.mark.parametrize("kind", get_args(PackageKind))
def test_a_new_package_passes_its_own_tests_and_the_kit_and_is_shown(kind, bench):
    package = bench.add(kind, f"acme-{kind}")
    bench.run("pytest", "-q", "-W", "error", "-p", "no:cacheprovider", cwd=package)
    checked = json.loads(bench.run("collegium", "check", f"acme-{kind}", "--json"))
    assert checked["passed"]
    assert checked["components"]
    (shown,) = json.loads(bench.run("collegium", "plugins", "show", f"acme-{kind}", "--json"))
    assert shown["id"] == f"acme-{kind}/acme-{kind}"
    assert shown["kind"] == SPECS[kind].component
    assert shown["options"]["properties"]


def test_its_tests_fail_when_its_component_is_broken(bench):
    package = bench.add("verifier", "acme-units")
    module = bench.site / "acme_units/verifier.py"
    module.write_text(module.read_text().replace("return Score(0.0", "return Score(1 - 0.0"))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=package, env=bench.environment)
    assert done.returncode == 1
    assert "test_an_answer_that_cannot_be_read_scores_zero" in done.stdout


def test_a_wheel_holds_the_package_its_licence_and_its_entry_point(bench):
    bench.run("collegium", "new", "router", "acme-units", "--licence", "MIT", "--owner", "Acme Ltd")
    subprocess.run([*PIP, "wheel", *BUILD, "-w", bench.folder, bench.folder / "acme-units"], check=True)
    with zipfile.ZipFile(bench.folder / "acme_units-0.1.0-py3-none-any.whl") as wheel:
        names = set(wheel.namelist())
        info = "acme_units-0.1.0.dist-info"
        assert {"acme_units/plugin.py", "acme_units/router.py", "acme_units/py.typed"} <= names
        assert "Acme Ltd" in wheel.read(f"{info}/licenses/LICENSE").decode()
        assert "License-Expression: MIT" in wheel.read(f"{info}/METADATA").decode()
        assert "acme-units = acme_units.plugin" in wheel.read(f"{info}/entry_points.txt").decode()
    assert not [name for name in names if name.startswith("tests")]


def test_the_cores_wheel_holds_every_template(tmp_path):
    source = Path(__file__).parents[2] / "core"
    subprocess.run([*PIP, "wheel", *BUILD, "-w", tmp_path, source], check=True)
    with zipfile.ZipFile(next(tmp_path.glob("collegium-*.whl"))) as wheel:
        names = set(wheel.namelist())
    templates = (source / "src/collegium/scaffold/templates").rglob("*.tmpl")
    assert {path.relative_to(source / "src").as_posix() for path in templates} <= names
    assert len([name for name in names if name.endswith(".tmpl")]) >= 25


@pytest.mark.e2e
@pytest.mark.slow
def test_a_recipe_of_outside_packages_only_runs_to_the_end(bench):
    bench.add("verifier", "acme-units")
    bench.add("router", "acme-router")
    bench.add("loss", "acme-loss")
    bench.add("reward", "acme-reward")
    bench.add("sampler", "acme-sampler")
    lab = bench.add("teacher", "acme-lab", "--verifier", "acme-units/acme-units")
    bench.run("pytest", "-q", "-p", "no:cacheprovider", cwd=lab)
    (recipe,) = re.findall(r"```yaml\n(.*?)```", (lab / "README.md").read_text(), re.DOTALL)
    recipe = recipe.replace("task: acme-lab", "task: {use: acme-lab, heldout: 8}")
    (bench.folder / "recipe.yaml").write_text(recipe)
    small = [f"stages.{stage}.steps=2" for stage in ("base", "sft", "teacher", "student")]
    bench.run(
        *["collegium", "run", "recipe.yaml", "--out", "run", "--store", "store", *small],
        "admission.margin=-1",
        *["stages.teacher.prompts=4", "stages.teacher.group=2", "stages.student.prompts=4"],
        *["stages.teacher.loss=acme-loss", "stages.teacher.reward=acme-reward", "stages.student.sampler=acme-sampler"],
        *["stages.student.router.use=acme-router", "stages.student.router.teachers.units=units"],
    )
    report = json.loads((bench.folder / "run/report.json").read_text())
    assert [stage["id"] for stage in report["stages"]] == ["base", "sft", "teacher-units", "student"]
    lock = (bench.folder / "run/recipe.lock.json").read_text()
    for package in ("units", "router", "loss", "reward", "sampler", "lab"):
        assert f"acme-{package}" in lock
