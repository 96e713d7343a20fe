"""What the README says of the recipes is what was recorded, of every recipe as it stands."""

from __future__ import annotations

import pytest

from tests.recipes import thresholds
from tests.recipes.record import FINISHED, figures_of, read_records, recipe_digest, recipes
from tests.recipes.run import recorded_table
from tests.recipes.table import MARKS, in_readme

RECORDS = read_records()
RECORD = "python -m tests.recipes.run NAME --record"


def test_the_readme_has_the_table_of_the_recorded_results():
    assert in_readme(MARKS) == recorded_table(), RECORD


def test_no_record_is_of_a_recipe_that_is_gone():
    assert set(RECORDS) <= set(recipes())


@pytest.mark.parametrize("name", recipes())
def test_a_recipe_has_a_record_of_itself_or_is_marked(name):
    (row,) = [line for line in recorded_table().splitlines() if line.startswith(f"| `{name}` ")]
    if name not in RECORDS:
        assert "not run yet" in row
    elif RECORDS[name].get("digest") != recipe_digest(recipes()[name]):
        assert "stale" in row


@pytest.mark.parametrize("name", RECORDS)
def test_no_record_is_of_a_failed_run_or_lacks_a_figure(name):
    record = RECORDS[name]
    assert record["status"] in FINISHED, record["problem"]
    assert [each.note for each in figures_of(record) if each.verdict == "missing"] == []


@pytest.mark.parametrize("name", RECORDS)
def test_a_records_verdicts_are_by_the_thresholds_as_they_stand(name):
    assert RECORDS[name]["thresholds"] == thresholds.as_record(), RECORD
