"""One recipe's lab profile, a different one each day, run from end to end (``COLLEGIUM_RUN_RECIPES=1``).

``COLLEGIUM_RECIPES=name,name`` runs those instead.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.recipes import rotation
from tests.recipes.execute import ROOT, run_recipe
from tests.recipes.record import FINISHED, figures_of, make_record, read_records

RUN = "COLLEGIUM_RUN_RECIPES"

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def expected(name: str, stage: str) -> str:
    """Return the recorded verdict of a stage's figure; one that was never recorded must hold."""
    record = read_records().get(name, {})
    return next((each.verdict for each in figures_of(record) if each.stage == stage), "holds")


@pytest.mark.skipif(os.environ.get(RUN) != "1", reason=f"trains for minutes: {RUN}=1")
@pytest.mark.parametrize("recipe", rotation.chosen(), ids=lambda path: path.stem)
def test_a_recipe_runs_to_its_end_and_shows_what_it_showed_before(recipe: Path):
    record = make_record(recipe, run_recipe(recipe, ROOT / "runs" / "rotating" / recipe.stem))
    assert record["status"] in FINISHED, record["problem"]
    found = figures_of(record)
    assert [each.note for each in found if each.verdict == "missing"] == []
    lost = [each for each in found if each.verdict == "does not hold" and expected(recipe.stem, each.stage) == "holds"]
    assert lost == []
