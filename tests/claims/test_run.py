"""A claim on a real recipe, tested over seeds with the real command line."""

from __future__ import annotations

from typing import Any

import pytest

from collegium.component import Use
from tests.claims import run
from tests.claims.claim import Claim, Variant
from tests.claims.measures import judged, score
from tests.recipes.tiny import write_tiny

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

EXACT = Use(use="toy", options={"partial": False})
STAGES = ("sampled", "rewards", "preferred", "average", "teacher", "student")
ONLY_SFT = tuple(f"stages.{stage}=null" for stage in STAGES)


def test_a_claim_is_tested_over_seeds_and_a_failed_run_ends_no_other(tmp_path, monkeypatch, capsys):
    recipe = str(write_tiny(tmp_path, monkeypatch))
    short = Variant("short", recipe, ("sft",), ONLY_SFT)
    long = Variant("long", recipe, ("sft",), (*ONLY_SFT, "stages.sft.steps=8"))
    measures = {"score": score("copy"), "again": judged(recipe, "copy"), "whole": judged(recipe, "copy", EXACT)}
    broken = Variant("no", recipe, ("x",), ("nonsense=1",))
    claims = {
        "broken": Claim("broken", "", "It breaks.", (broken, short), measures),
        "length": Claim("length", "", "Longer is better.", (long, short), measures),
    }
    records: list[dict[str, Any]] = []
    tables: list[str] = []
    monkeypatch.setattr(run, "CLAIMS", claims)
    monkeypatch.setattr(run, "write_record", records.append)
    monkeypatch.setattr(run, "write_readme", lambda text, marks: tables.append(text))
    assert run.main(["--seeds", "1", "2", "--out", str(tmp_path / "runs"), "--record"]) == 1
    told = capsys.readouterr()
    assert "broken: error: no, seed 1: " in told.err
    assert "| Longer is better. | score | long " in told.out
    assert "| 8 and 4 steps: **not equal** |" in told.out

    assert len(tables) == 1
    (record,) = records
    measured = record["measures"]
    assert (record["claim"], record["seeds"]) == ("length", [1, 2])
    assert measured["score"]["values"] == {
        name: pytest.approx(values) for name, values in measured["again"]["values"].items()
    }
    for name, values in measured["whole"]["values"].items():  # half an answer is worth nothing to this verifier
        assert all(whole <= partial for whole, partial in zip(values, measured["again"]["values"][name], strict=True))
