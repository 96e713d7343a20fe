"""Three outside packages, built as wheels, in a clean environment: used, upgraded, refused by the lock, named by diff."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
PACKAGES = Path(__file__).parent / "packages"
OUTSIDE = ("acme-chem-units", "acme-router", "acme-amounts")
FIRST_PARTY = ("plugins/sft", "plugins/grpo", "plugins/mopd")
PIP = ["-m", "pip", "--disable-pip-version-check", "-q"]


class Environment:
    """A virtual environment that holds wheels only, and a folder to work in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.wheels = folder / "wheels"
        venv.create(folder / "env", with_pip=True)

    def build(self, *sources: Path) -> list[str]:
        before = set(self.wheels.glob("*.whl"))
        build = ["wheel", "--no-deps", "--no-build-isolation", "-w", self.wheels]
        subprocess.run([sys.executable, *PIP, *map(str, [*build, *sources])], check=True)
        return sorted(str(path) for path in set(self.wheels.glob("*.whl")) - before)

    def install(self, *what: str) -> None:
        python = self.folder / "env/bin/python"
        subprocess.run([python, *PIP, "install", "-c", ROOT / "constraints.txt", *what], check=True)

    def collegium(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [str(self.folder / "env/bin/collegium"), *map(str, arguments)]
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "OMP_NUM_THREADS": "1"}
        return subprocess.run(command, capture_output=True, text=True, cwd=self.folder, env=environment)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The environment after the first run of the recipe, in ``run``."""
    made = Environment(tmp_path_factory.mktemp("outside"))
    (core,) = made.build(ROOT / "core")
    made.install(f"{core}[train]")
    made.install(*made.build(*(ROOT / member for member in FIRST_PARTY)), *made.build(*(PACKAGES / n for n in OUTSIDE)))
    shutil.copy(Path(__file__).with_name("recipe.yaml"), made.folder / "recipe.yaml")
    done = made.collegium("run", "recipe.yaml", "--out", "run")
    assert done.returncode == 0, done.stdout + done.stderr
    return made


@pytest.fixture(scope="module")
def upgraded(bench: Environment, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The same environment with acme-chem-units 1.1.0, which no longer takes another prefix for right."""
    source = tmp_path_factory.mktemp("upgrade") / "acme-chem-units"
    shutil.copytree(PACKAGES / "acme-chem-units", source)
    project = source / "pyproject.toml"
    project.write_text(project.read_text().replace('version = "1.0.0"', 'version = "1.1.0"'))
    module = source / "src/acme_chem_units/verifier.py"
    module.write_text(module.read_text().replace("[0-9]{1,15}(?:", "[1-9][0-9]{0,14}(?:"))
    bench.install(*bench.build(source))
    return bench


def test_nothing_in_the_environment_is_editable_or_from_this_tree(bench):
    code = "import acme_router, collegium, collegium_mopd; print(acme_router.__file__, collegium.__file__, collegium_mopd.__file__)"
    done = subprocess.run([bench.folder / "env/bin/python", "-c", code], capture_output=True, text=True, check=True)
    assert all(path.startswith(str(bench.folder)) for path in done.stdout.split())


def test_the_recipe_of_outside_packages_runs_to_the_end_on_real_scores(bench):
    report = json.loads((bench.folder / "run/report.json").read_text())
    assert report["status"] == "completed"
    assert {stage["id"] for stage in report["stages"]} == {"base", "sft", "teacher-amount", "teacher-volume", "student"}
    assert {plugin["distribution"] for plugin in report["plugins"]} >= set(OUTSIDE)
    assert all(0 < row["start"] < 1 for row in report["domains"].values()), report["domains"]


def test_each_package_passes_the_kit_where_it_is_installed(bench):
    for name in OUTSIDE:
        done = bench.collegium("check", name, "--json")
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_lock_holds_while_nothing_changes(bench):
    done = bench.collegium("run", "recipe.yaml", "--out", "same", "--locked", "run/recipe.lock.json")
    assert done.returncode == 0, done.stderr
    report = json.loads((bench.folder / "same/report.json").read_text())
    assert {stage["status"] for stage in report["stages"]} == {"cached"}


def test_an_upgraded_package_is_refused_by_the_lock_and_named(upgraded):
    done = upgraded.collegium("run", "recipe.yaml", "--out", "refused", "--locked", "run/recipe.lock.json")
    assert done.returncode == 2
    assert "acme-chem-units: 1.0.0 -> 1.1.0" in done.stderr
    assert not (upgraded.folder / "refused").exists()


def test_diff_names_the_upgrade_and_the_stages_that_it_changed(upgraded):
    done = upgraded.collegium("run", "recipe.yaml", "--out", "after")
    assert done.returncode == 0, done.stderr
    report = json.loads((upgraded.folder / "after/report.json").read_text())
    statuses = {stage["id"]: stage["status"] for stage in report["stages"]}
    assert (statuses["base"], statuses["sft"]) == ("cached", "cached")  # they never ask a verifier
    assert statuses["teacher-amount"] == statuses["student"] == "completed"

    found = json.loads(upgraded.collegium("diff", "run", "after", "--json").stdout)
    assert found["changes"] == ["package acme-chem-units: 1.0.0 -> 1.1.0"]
    for row in found["domains"].values():
        assert not row["comparable"]
        assert found["changes"] in [cause["because"] for cause in row["causes"]]
    assert [cause["stage"] for cause in found["domains"]["amount"]["causes"]] == ["teacher-amount", "teacher-volume"]
    words = upgraded.collegium("diff", "run", "after").stdout
    assert "package acme-chem-units: 1.0.0 -> 1.1.0" in words
    assert "teacher-amount changed itself" in words
    assert "not comparable" in words


def test_a_version_that_the_recipe_does_not_allow_stops_before_anything_runs(upgraded):
    done = upgraded.collegium("plan", "recipe.yaml", "requires=[acme-chem-units>=2]")
    assert done.returncode == 2
    assert "acme-chem-units 1.1.0 is installed, >=2 is expected" in done.stderr
