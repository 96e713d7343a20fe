"""An audit as a stage of a recipe: its result stays with the lineage, and a bad verifier stops the run."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.e2e

RECIPE = """\
collegium: 1
name: audited
executor: {use: local, workers: 1}
domains: {copy: {task: toy, verifier: toy}}
stages:
  trust: {use: audit, verifier: {use: toy, partial: true}, cases: cases.jsonl, threshold: 1.0}
"""
CASES = [
    {"id": "right", "prompt": "#abc=", "completion": "abc", "reference": "abc", "expected": 1},
    {"id": "wrong", "prompt": "#abc=", "completion": "abd", "reference": "abc", "expected": 0},
]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    (tmp_path / "cases.jsonl").write_text("".join(json.dumps(case) + "\n" for case in CASES))
    return tmp_path


def test_the_result_is_kept_with_the_run_and_reused_while_nothing_changes(folder, cli):
    done = cli("run", "recipe.yaml", "--out", "run", "--store", "store", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((folder / "run/stages/trust/audit.json").read_text())
    assert (found["verifier"], found["agreement"], found["cases"]) == ("collegium-toy/toy", 1.0, 2)
    (stage,) = json.loads((folder / "run/report.json").read_text())["stages"]
    assert stage["metrics"]["audit/agreement"] == 1.0
    assert "Audits of verifiers" in (folder / "run/report.html").read_text()

    again = cli("run", "recipe.yaml", "--out", "again", "--store", "store", cwd=folder)
    assert again.returncode == 0, again.stderr
    (stage,) = json.loads((folder / "again/report.json").read_text())["stages"]
    assert (stage["status"], stage["metrics"]["audit/agreement"]) == ("cached", 1.0)
    assert json.loads((folder / "again/stages/trust/audit.json").read_text()) == found


def test_changed_cases_are_audited_anew_and_a_verifier_below_the_demand_stops_the_run(folder, cli):
    assert cli("run", "recipe.yaml", "--out", "run", "--store", "store", cwd=folder).returncode == 0
    CASE = {"id": "mislabelled", "prompt": "#abc=", "completion": "abc", "reference": "abc", "expected": 0}
    with (folder / "cases.jsonl").open("a") as file:
        file.write(json.dumps(CASE) + "\n")
    done = cli("run", "recipe.yaml", "--out", "second", "--store", "store", cwd=folder)
    assert done.returncode == 2
    assert (
        "collegium-toy/toy agrees with 66.67% of 3 labelled cases, 100.00% is demanded; such as mislabelled"
        in done.stderr
    )
    assert "[collegium-toy]" in done.stderr
    allowed = cli("run", "recipe.yaml", "--out", "third", "--store", "store", "stages.trust.fail_under=0.6", cwd=folder)
    assert allowed.returncode == 0, allowed.stderr
