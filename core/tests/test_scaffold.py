"""New packages: their files, names that are refused, and folders that are left alone."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import get_args

import pytest
from click.testing import CliRunner

from collegium import ConfigError
from collegium.cli.main import cli
from collegium.component import component
from collegium.errors import StoreError
from collegium.scaffold.kinds import SPECS, PackageKind
from collegium.scaffold.names import LONGEST_NAME
from collegium.scaffold.package import LICENCES, PackageRequest, render_package, write_package

KINDS = get_args(PackageKind)


def collegium(*arguments, cwd):
    """Run the command line in a process of its own, where the core's code is the one under test."""
    import collegium as core

    environment = {**os.environ, "PYTHONPATH": str(Path(core.__file__).parents[1])}
    command = [sys.executable, "-m", "collegium", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment)


def snapshot(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_a_whole_package(kind, tmp_path):
    done = collegium("new", kind, "acme-units", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "acme-units"
    for name in ("README.md", "CHANGELOG.md", "LICENSE", ".gitignore", ".github/workflows/test.yml"):
        assert (folder / name).read_text().strip(), name
    assert "## Upcoming" in (folder / "CHANGELOG.md").read_text()
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["collegium"] == {"acme-units": "acme_units.plugin"}
    assert project["license"] == "Apache-2.0"
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert all(str(Path("acme-units") / path) in done.stdout for path in written)
    assert not [path for path in tmp_path.iterdir() if path != folder]  # nothing else is left


@pytest.mark.parametrize("kind", KINDS)
def test_the_component_is_registered_under_the_package_name(kind):
    spec = SPECS[kind]
    rendered = render_package(PackageRequest(kind, "acme-units"))
    module = {}
    exec(rendered["src/acme_units/plugin.py"], module)
    (offered,) = module[spec.hook]()
    assert offered.name == "acme-units"
    path, _, class_name = offered.target.partition(":")
    tree = ast.parse(rendered[f"src/{path.replace('.', '/')}.py"])
    assert class_name in {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    assert offered == component(offered.name, offered.target, spec.summary, config=offered.config)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["u", "acme-3d", "x" * LONGEST_NAME])
def test_every_name_that_is_allowed_gives_python_that_parses_and_lines_that_fit(kind, name):
    for path, text in render_package(PackageRequest(kind, name)).items():
        assert "${" not in text.replace("${{ matrix.python }}", ""), path
        if path.endswith(".py"):
            ast.parse(text, path)
            assert max(map(len, [*text.splitlines(), ""])) <= 120, path


def test_a_name_that_ends_like_its_class_does_not_say_it_twice():
    assert "class AcmeVerifier(Verifier)" in render_package(PackageRequest("verifier", "acme-verifier"))[
        "src/acme_verifier/verifier.py"
    ]  # fmt: skip


@pytest.mark.parametrize("licence", LICENCES)
def test_licence_and_owner_stand_where_they_belong(licence):
    owner = 'Units "R" Us \\ Ünits Ltd'
    rendered = render_package(PackageRequest("verifier", "acme-units", licence, owner))
    project = tomllib.loads(rendered["pyproject.toml"])["project"]
    assert (project["license"], project["license-files"]) == (licence, ["LICENSE"])
    assert project["authors"] == [{"name": owner}]
    assert owner in rendered["LICENSE"]
    assert f"SPDX-License-Identifier: {licence}" in rendered["LICENSE"]


def test_a_teacher_package_names_its_verifier_wherever_it_matters():
    rendered = render_package(PackageRequest("teacher", "acme-lab", verifier="acme-units/units"))
    assert 'verifier = "units"' in rendered["src/acme_lab/tasks.py"]
    assert "acme-units>=0.1" in tomllib.loads(rendered["pyproject.toml"])["project"]["optional-dependencies"]["test"]
    assert "verifier: acme-units/units" in rendered["README.md"]


def test_only_a_loss_needs_the_training_extra():
    for kind in KINDS:
        dependencies = tomllib.loads(render_package(PackageRequest(kind, "acme-x"))["pyproject.toml"])["project"]
        assert ("collegium[train]>=0.1,<0.2" in dependencies["dependencies"]) == (kind == "loss")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Acme_Units", "try acme-units"),
        ("-acme", "try acme"),
        ("acme--units", "try acme-units"),
        ("3d-units", "try d-units"),
        ("../acme", "try acme"),
        ("acmé", "try acm"),
        ("", "such as acme-units"),
        ("x" * (LONGEST_NAME + 1), f"at most {LONGEST_NAME} characters"),
        ("class", "a word or a module of Python itself"),
        ("json", "a word or a module of Python itself"),
        ("collegium", "it is the core's"),
        ("pytest", "already installed"),
    ],
)
def test_a_name_that_cannot_work_is_refused_with_the_fix(name, said):
    with pytest.raises(ConfigError) as raised:
        render_package(PackageRequest("verifier", name))
    assert said in str(raised.value)
    assert raised.value.problems[0].fix


def test_a_name_of_the_core_is_refused_for_its_kind_only():
    with pytest.raises(ConfigError, match="the core owns the sampler 'shuffled'"):
        render_package(PackageRequest("sampler", "shuffled"))
    assert render_package(PackageRequest("verifier", "shuffled"))


@pytest.mark.parametrize(
    "options", [{"owner": "two\nlines"}, {"verifier": "math"}, {"verifier": "a/b/c"}, {"verifier": 'x/"'}]
)
def test_owner_and_verifier_are_checked(options):
    with pytest.raises(ConfigError):
        render_package(PackageRequest("teacher", "acme-lab", **options))


@pytest.mark.parametrize("there", ["full", "empty", "file", "dangling"])
def test_what_exists_is_left_as_it_was(there, tmp_path):
    target = tmp_path / "acme-units"
    if there in ("full", "empty"):
        target.mkdir()
    if there == "full":
        (target / "README.md").write_text("mine")
    if there == "file":
        target.write_text("mine")
    if there == "dangling":
        target.symlink_to(tmp_path / "nowhere")
    before = snapshot(tmp_path)
    done = collegium("new", "verifier", "acme-units", cwd=tmp_path)
    assert done.returncode == 2
    assert "acme-units: it exists, and nothing in it was changed" in done.stderr
    assert "fix:" in done.stderr
    assert snapshot(tmp_path) == before


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("mine")
    done = collegium("new", "router", "acme-units", "--out", "file/deeper", cwd=tmp_path)
    assert done.returncode == 2
    assert "cannot write file/deeper" in done.stderr
    assert "--out" in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_named(tmp_path):
    tmp_path.chmod(0o500)
    done = collegium("new", "router", "acme-units", cwd=tmp_path)
    tmp_path.chmod(0o700)
    assert done.returncode == 2
    assert "Permission denied" in done.stderr


def test_a_write_that_fails_halfway_leaves_nothing(tmp_path, monkeypatch):
    write_text = Path.write_text

    def full_disk(path, text, **options):
        if path.name == "LICENSE":
            raise OSError(28, "No space left on device")
        return write_text(path, text, **options)

    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(StoreError, match="No space left"):
        write_package(PackageRequest("verifier", "acme-units"), tmp_path / "acme-units")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        ("gadget", "acme"),
        ("verifier",),
        ("verifier", "acme", "--licence", "GPL-3.0"),
        ("loss", "acme", "--verifier", "a/b"),
    ],
)
def test_wrong_kinds_licences_and_options_end_in_exit_code_2(arguments):
    assert CliRunner().invoke(cli, ["new", *arguments]).exit_code == 2


def test_the_command_imports_no_torch():
    code = "import sys, collegium.cli.new; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
