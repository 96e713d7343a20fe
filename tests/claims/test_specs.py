"""The claims name stages that their recipes have."""

from __future__ import annotations

import pytest

from collegium.recipe import load_recipe
from collegium.recipe.expand import Expansion
from tests.claims.measures import BUDGETS
from tests.claims.specs import CLAIMS
from tests.recipes.execute import PROFILE

VARIANTS = [(claim, variant) for claim in CLAIMS.values() for variant in claim.variants]


@pytest.mark.parametrize(("claim", "variant"), VARIANTS, ids=lambda each: each.name)
def test_a_variant_measures_stages_that_its_recipe_has(claim, variant):
    if not variant.path.is_file():
        pytest.skip(f"{variant.recipe} is not there yet")
    expansion = Expansion(load_recipe(variant.path, variant.overrides, PROFILE))
    assert expansion.problems == []
    assert {*variant.stages, *variant.budget} <= {node.id for node in expansion.nodes}


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=lambda claim: claim.name)
def test_a_claim_compares_variants_by_a_budget(claim):
    names = [variant.name for variant in claim.variants]
    assert len(names) == len(set(names)) >= 2
    assert claim.budget in BUDGETS
    assert claim.measures
