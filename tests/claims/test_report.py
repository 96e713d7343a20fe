"""A claim's record and row, from runs written by hand."""

from __future__ import annotations

import pytest

from tests.claims import report
from tests.claims.claim import Claim, Variant, VariantRun
from tests.claims.measures import budget_of, metric, score
from tests.recipes.finished import FigureMissing
from tests.recipes.handmade import entry, node, run

FIRST = Variant("long", "long.yaml", ("sft",))
OTHER = Variant("short", "short.yaml", ("sft", "more"), budget=("sft",))
CLAIM = Claim("length", "nowhere", "Longer is better.", (FIRST, OTHER), {"score": score("math")})


def finished(variant, math, steps):
    entries = [
        entry(
            stage,
            "collegium-sft/sft",
            {"math": math, "code": 0.0},
            rollouts=8,
            tokens_generated=20,
            fingerprint=f"{stage}{steps}",
        )
        for stage in ("sft", "more")
    ]
    metrics = {"sft": [{"tokens": 10.0, "loss": 1.0 / step} for step in range(1, steps + 1)]}
    return VariantRun(variant, None, run(entries, [node("sft"), node("more")], metrics=metrics))


@pytest.fixture
def record(monkeypatch):
    monkeypatch.setattr(report, "claim_digest", lambda _: "abc")
    runs = {
        "long": [finished(FIRST, value, 4) for value in (0.8, 0.9)],
        "short": [finished(OTHER, value, 2) for value in (0.5, 0.6)],
    }
    return report.make_record(CLAIM, [1, 2], runs)


def test_the_budget_counts_the_named_stages(record):
    assert budget_of(finished(OTHER, 0.5, 2)) == {"rollouts": 8.0, "tokens": 40.0, "steps": 2.0}
    assert record["budget"]["variants"]["long"]["steps"] == 4
    assert record["budget"]["equal"] is False


def test_a_record_has_each_seeds_value_and_the_comparison(record):
    assert record["measures"]["score"]["values"] == {"long": [0.8, 0.9], "short": [0.5, 0.6]}
    compared = record["measures"]["score"]["comparisons"]["short"]
    assert compared == {"mean": 0.3, "standard_error": 0.0, "verdict": "holds"}


def test_shared_stages_are_timed_once(record):
    assert record["minutes"] == 4.0  # two stages of a minute for each variant, whatever the seeds here


def test_the_row_says_all_of_it(record):
    row = report.table({"length": record}, {"length": ("Longer is better.", "abc")}).splitlines()[-1]
    assert row == (
        "| Longer is better. | score | long 0.850 ± 0.071 (0.800, 0.900); short 0.550 ± 0.071 (0.500, 0.600) | "
        "+0.300 ± 0.000 | holds | 4 and 2 steps: **not equal** |"
    )


def test_a_claim_that_was_not_tested_or_changed_is_marked(record):
    assert "not tested yet" in report.table({}, {"length": ("Longer is better.", "")})
    assert "(stale)" in report.table({"length": record}, {"length": ("Longer is better.", "other")})


def test_a_score_is_the_mean_over_domains_and_stages():
    assert score()(finished(OTHER, 0.5, 2)) == pytest.approx(0.25)
    assert metric("loss")(finished(FIRST, 0.5, 4)) == pytest.approx(0.25)
    with pytest.raises(FigureMissing, match="no score on 'law'"):
        score("law")(finished(FIRST, 0.5, 4))
