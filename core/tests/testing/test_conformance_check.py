"""`collegium check`, the pytest form, and the cases file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from collegium.component import KINDS
from collegium.errors import DataError
from collegium.testing.conformance import checks_for, parametrised_checks, read_cases
from collegium.testing.conformance.trace import child_environment

PLUGIN = """
from collegium import component, hookimpl

@hookimpl
def register_verifiers():
    return [component("exact", "acme_exact.verifier:Exact", "Equal text.")]
"""
VERIFIER = '''
import os
from collegium import Error, Score, Verifier

class Exact(Verifier):
    """Judge by equality."""

    def verify(self, completion, task):
        if not (task.reference or "").strip():
            return Error("no reference")
        return Score(float(completion.text == task.reference))
'''
CASES = [
    {"id": "right", "prompt": "?", "completion": "yes", "reference": "yes", "expected": 1},
    {"id": "wrong", "prompt": "?", "completion": "no", "reference": "yes", "expected": 0},
]
PYPROJECT = """
[project]
name = "acme-exact"
version = "2.5"

[project.entry-points.collegium]
acme-exact = "acme_exact.plugin"
"""


def collegium(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command line in a folder."""
    command = [sys.executable, "-P", "-m", "collegium", *arguments]
    return subprocess.run(command, cwd=cwd, env=child_environment(), capture_output=True, text=True, check=False)


@pytest.fixture
def folder(tmp_path):
    """A distribution that is not installed, with its own cases."""

    def write(verifier: str = VERIFIER, plugin: str = PLUGIN, cases: list[dict] = CASES) -> Path:
        package = tmp_path / "acme-exact" / "src" / "acme_exact"
        package.mkdir(parents=True)
        (package.parents[1] / "pyproject.toml").write_text(PYPROJECT)
        for name, text in {"__init__": "", "plugin": plugin, "verifier": verifier}.items():
            (package / f"{name}.py").write_text(text)
        (package / "card.yaml").write_text("{card: 1, contract: 1, components: {verifier/exact: {}}}")
        (package / "cases.jsonl").write_text("".join(json.dumps(case) + "\n" for case in cases))
        return package.parents[1]

    return write


def test_a_folder_is_checked_without_being_installed(folder, tmp_path):
    done = collegium("check", str(folder()), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "conformance.json").read_text())
    assert (report["distribution"], report["version"], report["contract"]) == ("acme-exact", "2.5", 1)
    assert report["passed"] is True
    plugin, verifier = report["components"]
    assert plugin["checks"] == [{"check": "loads", "status": "passed", "reason": ""}]
    assert (verifier["kind"], verifier["id"]) == ("verifier", "acme-exact/exact")
    assert {"check": "labels-agree", "status": "passed", "reason": ""} in verifier["checks"]


def test_a_failed_check_is_exit_code_1_and_says_why(folder, tmp_path):
    source = folder(VERIFIER.replace("completion.text == task.reference", "True"))
    done = collegium("check", str(source), "--json", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    checks = {row["check"]: row for row in json.loads(done.stdout)["components"][1]["checks"]}
    assert "'wrong' (expected 0)" in checks["labels-agree"]["reason"]


@pytest.mark.parametrize("code", [0, 3])
def test_a_component_that_ends_its_process_fails_the_check_that_ran(folder, tmp_path, code):
    hostile = VERIFIER.replace(
        "        if not", f"        if completion.text == '':\n            os._exit({code})\n        if not", 1
    )
    done = collegium("check", str(folder(hostile)), "--json", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    failed = [row for row in json.loads(done.stdout)["components"][1]["checks"] if row["status"] == "failed"]
    assert failed
    assert "process" in failed[-1]["reason"]


def test_a_plugin_that_does_not_import_is_a_failed_check(folder, tmp_path):
    done = collegium("check", str(folder(plugin="import acme_no_such_module")), cwd=tmp_path)
    assert done.returncode == 1
    assert "acme_no_such_module" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["no-such-distribution"], "neither a folder nor an installed distribution"),
        (["."], "pyproject.toml"),
        (["click"], "no entry point"),
        (["collegium-verifier-format", "--cases", "nowhere.jsonl"], "nowhere.jsonl"),
        (["collegium-verifier-format", "--set", "words"], "NAME.OPTION=VALUE"),
    ],
)
def test_bad_input_is_exit_code_2_and_leaves_no_report(tmp_path, arguments, says):
    done = collegium("check", *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stdout
    assert says in done.stderr
    assert os.listdir(tmp_path) == []


def test_an_installed_distribution_passes_with_the_examples_of_its_options(tmp_path):
    done = collegium(
        "check", "collegium-verifier-format", "--set", "length.unit=words", "--set", "length.max=9", cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "collegium-verifier-format/length" in done.stdout


def test_a_row_that_is_no_case_is_named(tmp_path):
    file = tmp_path / "cases.jsonl"
    file.write_text('{"id": "a", "completion": "x"}\n{"id": "b"}\n')
    with pytest.raises(DataError, match=r"cases\.jsonl:2: not a case: completion"):
        read_cases(file)


@parametrised_checks("weighter", "collegium-mopd/uniform")
def test_the_pytest_form_runs_one_test_per_check(check):
    check()


def test_every_check_is_documented_in_one_sentence_and_listed():
    page = (Path(__file__).parents[3] / "docs" / "conformance.md").read_text(encoding="utf-8")
    for each in {each.name: each for kind in KINDS for each in checks_for(kind)}.values():
        assert each.summary.endswith(".")
        assert each.name in page
