"""`pip install ./core` alone, from a wheel in an empty environment: the command line and planning work without torch."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
MEMBERS = [
    path.parent
    for pattern in ("core", "plugins/*", "verifiers/*", "teachers/*")
    for path in sorted(ROOT.glob(f"{pattern}/pyproject.toml"))
]


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of an environment with core and its own requirements, and the members without theirs."""
    folder = tmp_path_factory.mktemp("light")
    wheels = folder / "wheels"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    sources = [str(member) for member in MEMBERS]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(wheels), *sources], check=True)
    venv.create(folder / "env", with_pip=True)
    own_pip = [str(folder / "env/bin/python"), "-m", "pip", "--disable-pip-version-check", "-q", "install"]
    core = next(wheels.glob("collegium-*.whl"))
    subprocess.run([*own_pip, "-c", str(ROOT / "constraints.txt"), str(core)], check=True)
    subprocess.run([*own_pip, "--no-deps", *map(str, sorted(set(wheels.glob("*.whl")) - {core}))], check=True)
    return folder / "env/bin"


def run(light: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(light / "collegium"), *arguments], capture_output=True, text=True, cwd=cwd)


def test_there_is_no_torch(light):
    done = subprocess.run([str(light / "python"), "-c", "import torch"], capture_output=True, text=True)
    assert "No module named 'torch'" in done.stderr


def test_help_and_plugins_work(light, tmp_path):
    assert "resume" in run(light, "--help", cwd=tmp_path).stdout
    listed = json.loads(run(light, "plugins", "list", "--json", cwd=tmp_path).stdout)
    assert {"collegium/transformers", "collegium-grpo/grpo", "collegium-verifier-code/code"} <= {
        c["id"] for c in listed
    }
    doctor = run(light, "plugins", "doctor", cwd=tmp_path)
    assert doctor.returncode == 0, doctor.stdout


def test_every_component_shows_its_options_where_its_config_is_light(light, tmp_path):
    for name in ("grpo", "mopd", "sft", "pretrain", "clipped", "reverse-kl", "balanced", "checkpoint"):
        shown = run(light, "plugins", "show", name, cwd=tmp_path)
        assert shown.returncode == 0, shown.stderr


def test_the_quick_start_plans(light, tmp_path):
    done = run(light, "plan", str(ROOT / "recipes/quickstart.yaml"), "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    described = json.loads(done.stdout)
    assert [stage["id"] for stage in described["stages"]][-1] == "student"
    assert described["stages"][-1]["routes"] == {name: name for name in described["domains"]}


def test_running_says_what_to_install(light, tmp_path):
    done = run(light, "run", str(ROOT / "recipes/quickstart.yaml"), "--out", "run", cwd=tmp_path)
    assert done.returncode == 2
    assert "pip install 'collegium[train]'" in done.stderr
