"""The error rates that the packages carry are those that a fresh measurement gives, and the README's are the same."""

from __future__ import annotations

import json
import re

import pytest

from collegium.plugins import Registry
from tests.measure import run

MEMBERS = run.members()


def test_every_first_party_verifier_is_measured():
    verifiers = {path.parent.name for path in run.ROOT.glob("verifiers/*/pyproject.toml")}
    assert {member.name for member in MEMBERS} == verifiers


@pytest.mark.slow
@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.name)
def test_the_figures_in_the_package_are_those_of_a_fresh_measurement(member, real_data):
    found = run.measure(member, real_data, Registry.discover())
    assert found
    for measured in found:
        assert measured.report.cases > 0
        assert (measured.unexplained, measured.stale) == ([], []), measured.spec.name
    assert run.differences(member, found) == []


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.name)
def test_the_readme_table_has_the_figures_in_the_package(member):
    readme = (run.ROOT / "README.md").read_text(encoding="utf-8")
    for row in json.loads(run.measured_file(member).read_text(encoding="utf-8"))["audits"]:
        lines = [line for line in readme.splitlines() if line.startswith("|") and f"| {row['name']}" in line]
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        options = ", ".join(f"{key}: {value}" for key, value in row["options"].items())
        mine = [cell for cell in cells if (re.search(r"\((.*)\)", cell[0]) or ["", ""])[1] == options]
        assert len(mine) == 1, f"{row['name']} ({options}) is not in the README's table once"
        shown = f"{min(row['agreement'], 0.9999):.2%}" if row["agreement"] < 1 else "100%"
        assert mine[0][2:4] == [f"{row['cases']:,}", shown]


def test_a_difference_to_the_figures_in_the_package_is_found(monkeypatch, real_data, tmp_path):
    member = run.ROOT / "verifiers/instructions"
    found = run.measure(member, real_data, Registry.discover())
    kept = json.loads(run.measured_file(member).read_text(encoding="utf-8"))
    kept["audits"][0]["false_positives"] += 1
    monkeypatch.setattr(run, "measured_file", lambda _: tmp_path / "measured.json")
    monkeypatch.setattr(run, "ROOT", tmp_path)
    (tmp_path / "measured.json").write_text(json.dumps(kept), encoding="utf-8")
    (difference,) = run.differences(member, found)
    assert "false_positives: 3 is kept, 2 was measured" in difference
