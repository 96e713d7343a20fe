"""Lists that stand in several files agree with the folders."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MEMBERS = sorted(
    path.parent.relative_to(ROOT).as_posix()
    for pattern in ("core/pyproject.toml", "plugins/*/pyproject.toml", "verifiers/*/pyproject.toml", "teachers/*/pyproject.toml")
    for path in ROOT.glob(pattern)
)  # fmt: skip


def pyproject(folder: str = ".") -> dict:
    return tomllib.loads((ROOT / folder / "pyproject.toml").read_text())


def name_for(member: str) -> str:
    if member == "core":
        return "collegium"
    kind, _, name = member.partition("/")
    infix = {"plugins": "", "verifiers": "verifier-", "teachers": "teacher-"}[kind]
    return f"collegium-{infix}{name.replace('_', '-')}"


def test_there_are_members():
    assert {"core", "plugins/sft", "plugins/grpo", "plugins/mopd", "verifiers/code"} <= set(MEMBERS)


@pytest.mark.parametrize("member", MEMBERS)
def test_a_member_is_named_after_its_folder_and_has_its_papers(member):
    name = name_for(member)
    assert pyproject(member)["project"]["name"] == name
    for paper in ("README.md", "CHANGELOG.md", f"src/{name.replace('-', '_')}/__init__.py"):
        assert (ROOT / member / paper).is_file(), paper
    assert "## Upcoming" in (ROOT / member / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("member", MEMBERS)
def test_a_member_is_discovered_through_its_real_entry_point(member, installed_registry):
    record = installed_registry.record(name_for(member))
    assert record is not None
    assert record.status == "loaded", record.cause
    assert record.components


def test_the_meta_distribution_depends_on_every_member():
    listed = {
        re.split(r"[\[ ]", item)[0]: item.rpartition("{root:uri}/")[2]
        for item in pyproject()["project"]["dependencies"]
    }
    assert listed == {name_for(member): member for member in MEMBERS}


def test_the_development_requirements_list_every_member():
    lines = (ROOT / "requirements-dev.txt").read_text().splitlines()
    assert sorted(line[5:].split("[")[0] for line in lines if line.startswith("-e ")) == MEMBERS


def test_the_layering_contracts_name_every_member():
    packages = [name_for(member).replace("-", "_") for member in MEMBERS]
    linter = pyproject()["tool"]["importlinter"]
    assert sorted(linter["root_packages"]) == sorted(packages)
    plugins = sorted(set(packages) - {"collegium"})
    for contract in linter["contracts"]:
        assert sorted(contract.get("forbidden_modules", contract.get("modules"))) == plugins


def test_the_layers_hold():
    done = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_hook_reference_is_up_to_date():
    done = subprocess.run([sys.executable, "docs/make_hooks.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_nothing_in_the_tree_names_a_machine_or_a_registry():
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    for name in files:
        if name.startswith("verifiers/code/") and (
            "/tests/" in name or "/selftest/" in name
        ):  # attacks read such places
            continue
        text = (ROOT / name).read_text(encoding="utf-8", errors="ignore") if (ROOT / name).is_file() else ""
        for word in ("/" + "root/", "/" + "work/", "files.python" + "hosted", "pypi" + ".org"):
            assert word not in text, f"{name} holds {word!r}"


def test_installed_versions_are_the_pinned_ones():
    pins = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line and line[0] != "#"
    )
    for name in ("torch", "transformers", "accelerate", "pydantic", "pluggy", "omegaconf", "math-verify"):
        assert importlib.metadata.version(name).partition("+")[0] == pins[name]
