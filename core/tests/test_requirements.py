"""`requires`: its forms, version ranges, and conformance that is demanded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from collegium.errors import RecipeError
from collegium.planning import make_plan
from collegium.planning.conformance import code_of
from collegium.planning.fingerprint import code_digest, distribution_digest
from collegium.plugins import Registry
from collegium.recipe import load_recipe
from collegium.running.lock import make_lock
from collegium.testing.conformance import checks_for

pytestmark = pytest.mark.usefixtures("acme_lab")


@pytest.fixture(autouse=True)
def _own_working_directory(tmp_path, monkeypatch):
    """Reports that are made here lie under the working directory."""
    monkeypatch.chdir(tmp_path)
    forget()


def forget():
    """Forget the digests that were taken: code is not expected to change within a command."""
    code_digest.cache_clear()
    distribution_digest.cache_clear()


def plan(recipe_file, requires):
    return make_plan(load_recipe(recipe_file(("seed: 5", f"seed: 5\nrequires:{requires}")), ()), Registry.discover())


def problems(recipe_file, requires):
    with pytest.raises(RecipeError) as caught:
        plan(recipe_file, requires)
    return caught.value.problems


@pytest.mark.parametrize(
    "requires",
    [
        " [acme-lab>=1]",
        " ['acme-lab >=1,<2', collegium]",
        " [{acme-lab: '>=1'}]",
        " [{acme-lab: {version: '>=1,<2'}}, collegium>=0.1]",
        "\n  acme-lab: '>=1,<2'\n  collegium:",
        "\n  Acme_Lab: {version: '>=1'}",
        "\n  acme-lab: {}",
    ],
)
def test_every_form_of_a_requirement_is_understood(recipe_file, requires):
    assert "acme-lab" in plan(recipe_file, requires).recipe.requires[0].name.lower().replace("_", "-")


@pytest.mark.parametrize(
    ("requires", "line", "what", "fix"),
    [
        ("\n  collegium:\n  acme-lab: '>=2'", 6, "acme-lab 1.0 is installed, >=2 is expected", "pip install 'acme-lab>=2'"),
        ("\n  acme-lab: '1.0'", 5, "'acme-lab1.0' is no requirement", "such as"),
        ("\n  acme-lab: 1.0", 4, "version: Input should be a valid string", ""),
        ("\n  acme-lab: {verson: '>=1'}", 4, "unknown key 'verson'", "'version'"),
        ("\n  acme-lab: {name: other}", 4, "unknown key 'name'", ""),
        ("\n  acme-lab: {conformance: mine}", 4, "conformance", ""),
        ("\n  acme lab: '>=1'", 5, "is no requirement", ""),
        ("\n  no-such-package: '>=1'", 5, "no-such-package is not installed", "pip install 'no-such-package>=1'"),
    ],
)  # fmt: skip
def test_a_faulty_requirement_names_its_line_and_the_fix(recipe_file, requires, line, what, fix):
    (problem, *_) = problems(recipe_file, requires)
    assert what in problem.what
    assert fix in problem.fix
    assert problem.where is not None
    assert problem.where.line == line


DEMANDED = "\n  acme-lab: {version: '>=1', conformance: true}"
LOCAL = DEMANDED.replace("true", "local")


def report(path: Path, **changes) -> Path:
    """Write the report that a passed check of acme-lab would write."""
    (record,) = Registry.discover().records_of("acme-lab")
    rows = [
        {
            "kind": kind,
            "id": f"acme-lab/{component.name}",
            "checks": [{"check": each.name, "status": "passed", "reason": ""} for each in checks_for(kind)],
        }
        for kind, component in record.components
    ]
    head = {"schema": 1, "distribution": "acme-lab", "version": "1.0", "contract": 1}
    forget()
    content = {**head, "code": code_of("acme-lab", record.modules), "passed": True, "components": rows, **changes}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


LOCAL_REPORT = Path(".collegium/conformance/acme-lab.json")


def test_conformance_that_nobody_checked_is_a_problem_with_the_command(recipe_file):
    (problem,) = problems(recipe_file, DEMANDED)
    assert "must have a passed conformance report: there is no report" in problem.what
    assert (problem.owner, problem.fix, problem.where.line) == ("acme-lab", "collegium check acme-lab", 5)


@pytest.mark.parametrize("shipped", [True, False])
def test_a_passed_report_of_the_installed_code_meets_the_demand_and_is_locked(recipe_file, acme_lab, shipped):
    path = report(acme_lab() / "conformance.json" if shipped else LOCAL_REPORT)
    locked = make_lock(plan(recipe_file, DEMANDED))["requires"]
    report_row = {"file": str(path), "local": not shipped}
    assert locked == [{"name": "acme-lab", "version": ">=1", "conformance": True, "report": report_row}]


def test_a_report_of_the_packages_own_is_no_local_one(recipe_file, acme_lab):
    report(acme_lab() / "conformance.json")
    assert "made here: there is no report" in problems(recipe_file, LOCAL)[0].what
    report(LOCAL_REPORT)
    assert plan(recipe_file, LOCAL)


FAILED = [{"check": "card", "status": "failed", "reason": "none"}]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"version": "0.9"}, "is on version 0.9, 1.0 is installed"),
        ({"contract": 0}, "is on contract 0, this core speaks 1"),
        ({"code": "0" * 64}, "is on other code than what is installed"),
        ({"code": None}, "is on other code than what is installed"),
        ({"distribution": "acme-other"}, "is on another distribution, acme-other"),
        ({"passed": False}, "it did not pass"),
        ({"components": []}, "it does not cover the verifier exact"),
        ({"components": [{"kind": "task", "id": "acme-lab/toy", "checks": FAILED}]}, "task acme-lab/toy: card failed"),
        ({"components": 3}, "cannot be read: TypeError"),
        ({"schema": 99}, "is on schema 99, expected 1"),
    ],
)
def test_a_report_that_does_not_pass_the_installed_code_is_refused(recipe_file, changes, what):
    report(LOCAL_REPORT, **changes)
    assert what in problems(recipe_file, DEMANDED)[0].what


def edited(change):
    """Write a passed report whose components' checks are changed."""
    path = report(LOCAL_REPORT)
    content = json.loads(path.read_text())
    for row in content["components"]:
        row["checks"] = change(row["checks"])
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda checks: checks[1:], "it does not cover the"),
        (lambda checks: [{"check": "x", "status": "not applicable", "reason": ""}], "it does not cover the"),
        (lambda checks: [{**check, "status": "not applicable"} for check in checks], "nothing passed"),
        (lambda checks: [{**check, "status": "FAILED"} for check in checks], "FAILED"),
        (lambda checks: [{**check, "status": "Passed"} for check in checks], "Passed"),
    ],
)
def test_a_report_without_every_check_of_the_kit_is_refused(recipe_file, change, what):
    edited(change)
    assert what in problems(recipe_file, DEMANDED)[0].what


@pytest.mark.parametrize("version", ["'@ http://example.invalid/x'", "'; python_version > \"3\"'"])
def test_a_requirement_that_cannot_be_checked_is_refused(recipe_file, version):
    assert "is no requirement" in problems(recipe_file, f"\n  acme-lab: {version}")[0].what


def test_a_card_for_another_contract_is_a_problem_of_its_owner(recipe_file, acme_lab):
    (acme_lab() / "card.yaml").write_text("card: 1\ncontract: 99\ncomponents: {}\n")
    found = [problem for problem in problems(recipe_file, " [acme-lab>=1]") if "contract 99" in problem.what]
    assert [problem.owner for problem in found] == ["acme-lab"]


def test_a_report_that_is_no_json_is_refused(recipe_file):
    report(LOCAL_REPORT).write_text("{")
    assert "cannot be read" in problems(recipe_file, DEMANDED)[0].what


def test_edited_code_needs_a_new_report(recipe_file, acme_lab):
    report(LOCAL_REPORT)
    assert plan(recipe_file, DEMANDED)
    (acme_lab() / "helper.py").write_text("VALUE = 1\n")
    forget()
    assert "other code" in problems(recipe_file, DEMANDED)[0].what


def test_a_failed_report_made_here_decides_over_the_packages_own(recipe_file, acme_lab):
    report(acme_lab() / "conformance.json")
    assert plan(recipe_file, DEMANDED)
    report(LOCAL_REPORT, passed=False)
    assert "it did not pass" in problems(recipe_file, DEMANDED)[0].what
    report(LOCAL_REPORT, passed=False, version="0.9")
    assert plan(recipe_file, DEMANDED)


def test_a_distribution_without_a_plugin_has_no_conformance(recipe_file):
    (problem,) = problems(recipe_file, "\n  click: {conformance: true}")
    assert "click offers no plugin" in problem.what
