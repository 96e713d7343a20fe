"""Exit codes: 0 done, 1 something is broken, 2 bad input, and never 0 because a plugin says so."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PRINTS = "print('hello from a plugin')\nfrom collegium import hookimpl"
EXITS = """
from collegium import component, hookimpl

@hookimpl
def register_verifiers():
    return [component("leaver", "acme_exit.leaver:Leaver", "Leaves at import.")]
"""


def cli(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "collegium", *map(str, arguments)], capture_output=True, text=True, cwd=cwd
    )


def test_doctor_ends_with_1_where_a_plugin_is_broken(make_plugin, tmp_path):
    assert cli("plugins", "doctor", cwd=tmp_path).returncode == 0
    make_plugin("acme-broken", plugin="raise ValueError('broken at import')")
    done = cli("plugins", "doctor", cwd=tmp_path)
    assert done.returncode == 1
    assert "broken at import" in done.stdout


def test_what_plugins_print_does_not_mix_with_json(make_plugin, tmp_path):
    make_plugin("acme-prints", plugin=PRINTS)
    done = cli("plugins", "list", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)
    assert "hello from a plugin" in done.stderr


def test_a_component_that_exits_at_import_is_a_fault_of_its_package(acme_lab, recipe_file, make_plugin, tmp_path):
    make_plugin("acme-exit", plugin=EXITS, leaver="import sys; sys.exit(0)")
    path = recipe_file(("math: {task: toy, verifier: exact}", "math: {task: toy, verifier: leaver}"))
    done = cli("plan", path, cwd=tmp_path)
    assert done.returncode == 2
    assert "SystemExit: 0" in done.stderr
    assert "[acme-exit]" in done.stderr


def test_a_distribution_without_a_name_is_passed_over(make_plugin, tmp_path):
    folder = make_plugin("acme-half", plugin="")
    (folder.parent / "acme_half-1.0.dist-info/METADATA").write_text("")
    assert cli("plugins", "list", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("content", ["[]", "{}", "{", '"x"'])
@pytest.mark.parametrize("command", [("report", "run"), ("diff", "run", "run"), ("resume", "run")])
def test_garbage_in_a_run_directory_is_one_message(tmp_path, command, content):
    run = tmp_path / "run"
    run.mkdir()
    (run / "recipe.yaml").write_text("collegium: 1\nname: toy\nstages: {a: {use: pretrain}}\n")
    for name in ("report.json", "recipe.lock.json"):
        (run / name).write_text(content)
    done = cli(*command, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr


def test_evaluating_what_is_no_model_says_where_models_lie(tmp_path):
    (tmp_path / "r.yaml").write_text("collegium: 1\nname: toy\nstages: {a: {use: pretrain}}\n")
    done = cli("eval", "sft", "--recipe", "r.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "RUN/stages/STAGE/model" in done.stderr
