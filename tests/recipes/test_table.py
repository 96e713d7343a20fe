"""The table says what the records say, and nothing is left out of it."""

from __future__ import annotations

import datetime

import pytest

from tests.recipes import rotation
from tests.recipes.execute import Executed, plain
from tests.recipes.figures import MAKERS, Figure
from tests.recipes.record import make_record, recipe_digest
from tests.recipes.run import problems
from tests.recipes.table import MARKS, TEXTS, in_readme, lines, table, write_readme

FIGURE = Figure(
    "rl", "RL", "does not hold", {"before": 0.1, "after": 0.2, "standard_error": 0.1, "standard_errors": 1.0}
)
RECORD = {
    "recipe": "one",
    "status": "completed",
    "digest": "abc",
    "seconds": {"stages": 120.0, "wall": 90.0},
    "stages": [{"id": "base", "status": "cached"}, {"id": "rl", "status": "completed"}],
    "figures": [FIGURE.as_record()],
}


def row(record, digest="abc"):
    return table({"one": record} if record else {}, {"one": digest}).splitlines()[-1]


def test_a_row_has_stages_minutes_and_every_figure_with_its_verdict():
    assert row(RECORD) == "| `one` | 2 (1 cached) | 2.0, 1.5 | RL: `rl` 0.100 → 0.200 (+1.0 SE) **does not hold** |"


def test_a_recipe_that_changed_since_is_marked():
    assert "**stale" in row(RECORD, "other")
    assert "stale" not in row(RECORD)


def test_a_failed_and_a_missing_run_have_a_row():
    failed = {"recipe": "one", "status": "failed", "problem": "stage 'a | b' failed"}
    assert row(failed) == "| `one` | | | **failed**: stage 'a / b' failed |"
    assert row(None) == "| `one` | | | not run yet |"


def test_a_missing_figure_says_why():
    figure = Figure("rl", "missing", "missing", note="stage 'rl' has no score")
    assert list(lines([figure])) == ["missing: `rl` stage 'rl' has no score **missing**"]


def test_what_is_wrong_with_a_record_is_said():
    assert problems(RECORD) == ["RL: rl: does not hold"]
    assert problems({"status": "failed", "problem": "no disk"}) == ["no disk"]


def test_every_kind_of_figure_has_words():
    kinds = {"reward model", "preferences", "RL", "SFT", "consolidation", "merge", "merge of reward models", "data"}
    assert {*TEXTS} == kinds | {"pretraining", "SFT without evaluation", "measurement"}
    assert all(callable(maker) for maker in MAKERS.values())


def test_the_readme_gets_the_table_between_its_marks(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- recipes:begin -->\nold\n<!-- recipes:end -->\nafter\n")
    write_readme("new", MARKS, readme)
    assert readme.read_text() == "before\n<!-- recipes:begin -->\nnew\n<!-- recipes:end -->\nafter\n"
    assert in_readme(MARKS, readme) == "new"
    readme.write_text("no marks")
    with pytest.raises(SystemExit, match="has no <!-- recipes:begin -->"):
        write_readme("new", MARKS, readme)
    with pytest.raises(LookupError, match="has no <!-- recipes:begin -->"):
        in_readme(MARKS, readme)


def test_a_failed_run_is_recorded_without_a_path_of_the_machine(tmp_path):
    from tests.recipes.execute import ROOT

    record = make_record(tmp_path / "one.yaml", Executed(tmp_path, plain(f"cannot read {ROOT}/x\n  fix: mend")))
    assert record["problem"] == "cannot read ./x fix: mend"


def test_every_recipe_has_its_turn():
    days = [datetime.date(2026, 1, 1) + datetime.timedelta(days=number) for number in range(3)]
    assert {rotation.turn(["c", "a", "b"], day) for day in days} == {"a", "b", "c"}


def test_recipes_of_many_teachers_or_without_a_record_of_themselves_have_no_turn(tmp_path, monkeypatch):
    text = "collegium: 1\nname: many\nstages:\n  rs: {use: rejection-sampling, generate_from: [%s]}\n"
    many = tmp_path / "many.yaml"
    models = [f"m{number}" for number in range(10)]
    many.write_text(text % ", ".join(models) + "models: {" + ", ".join(f"{m}: {{path: x}}" for m in models) + "}\n")
    few = tmp_path / "few.yaml"
    few.write_text(text % "m0" + "models: {m0: {path: x}}\n")
    assert (rotation.teachers(many), rotation.teachers(few)) == (10, 1)
    records = {path.stem: {"digest": recipe_digest(path)} for path in (few, many)}
    monkeypatch.setattr(rotation, "recipes", lambda: {"few": few, "many": many})
    monkeypatch.setattr(rotation, "read_records", lambda: records)
    monkeypatch.delenv(rotation.VARIABLE, raising=False)
    assert rotation.chosen() == [few]
    records["few"] = {"digest": "of another text"}
    assert rotation.chosen() == []
    monkeypatch.setenv(rotation.VARIABLE, "many, few")
    assert rotation.chosen() == [many, few]
