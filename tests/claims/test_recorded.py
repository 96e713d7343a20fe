"""What the README says of the claims is what was recorded."""

from __future__ import annotations

import pytest

from tests.claims.report import MARKS, claim_digest, read_records
from tests.claims.run import recorded_table
from tests.claims.specs import CLAIMS
from tests.recipes.table import in_readme

RECORD = "python -m tests.claims.run CLAIM --record"


def test_the_readme_has_the_table_of_the_recorded_results():
    assert in_readme(MARKS) == recorded_table(), RECORD


def test_no_record_is_of_a_claim_that_is_gone():
    assert set(read_records()) <= set(CLAIMS)


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_has_a_record_of_itself_or_is_marked(name):
    record = read_records().get(name)
    rows = [line for line in recorded_table().splitlines() if line.startswith(f"| {CLAIMS[name].says}")]
    assert rows
    if record is None:
        assert "not tested yet" in rows[0]
    elif record["digest"] != claim_digest(CLAIMS[name]):
        assert "(stale)" in rows[0]
