"""The environments `calculator` and `database`: what they reply, and that nothing a model writes is evaluated."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from collegium import DataError, Task
from collegium.testing.conformance import check_component
from collegium_verifier_tools.calculator import Calculator
from collegium_verifier_tools.lookup import DatabaseLookup

SHARED = Path(os.environ.get("COLLEGIUM_DATA") or Path(__file__).parents[3].parent / "shared" / "data")
RETAIL = SHARED / "tool_tau_retail_db.jsonl.gz"
DESK = Task("t", "?", data={"database": {"o": {"417": {"u": "852", "paid": True, "items": [{"id": 3}], "no": None}}}})


@pytest.mark.parametrize(
    ("turn", "reply"),
    [
        ("calc 47*86", "4042"),
        ("calc (3+4)*-2", "-14"),
        ("calc 1/3", "0.3333333333"),
        ("calc 99999999*9999999", "999999890000001"),
        ("calc 99999999999*9999999999", "9.999999999e+20"),
        ("let me see\ncalc 2+2 \n\n", "4"),
        ("calc 1/0", "error"),
        ("calc 10**10", "error"),
        ("calc __import__('os').system('true')", "error"),
        ("calc " + "(" * 500, "error"),
        ("calc " + "9" * 900 + "*" + "9" * 50, "error"),
        ("calc 1e999", "error"),
        ("calc 4\x00", "error"),
        ("calc \ud800", "error"),
        ("calc", None),
        ("=4042", None),
        ("", None),
        ("calc 2+2\n=4", None),
    ],
)
def test_the_calculator_replies_with_the_value_or_ends_the_episode(turn, reply):
    assert Calculator().open(DESK).reply(turn) == reply


def test_the_mark_of_a_call_is_an_option():
    assert Calculator({"call": "<calc>"}).open(DESK).reply("<calc>1+1") == "2"


@pytest.mark.parametrize(
    ("turn", "reply"),
    [
        ("get o 417 u", "852"),
        ("get o 417 paid", "true"),
        ("get o 417 items", '[{"id": 3}]'),
        ("get o 417 no", "none"),
        ("get o 417 items.id", "none"),
        ("get o 417 u.x", "none"),
        ("get o 417", "none"),
        ("get o 418 u", "none"),
        ("get p 417 u", "none"),
        ("get o __class__ u", "none"),
        ("=852", None),
    ],
)
def test_the_database_replies_with_a_field_or_ends_the_episode(turn, reply):
    assert DatabaseLookup().open(DESK).reply(turn) == reply


def test_a_long_value_is_cut():
    task = Task("t", "?", data={"database": {"t": {"k": {"f": "x" * 500}}}})
    assert DatabaseLookup({"max_chars": 10}).open(task).reply("get t k f") == "x" * 10


def test_a_task_without_a_database_is_refused_where_the_options_name_none():
    with pytest.raises(DataError, match="task 'u' has no database"):
        DatabaseLookup().open(Task("u", "?"))


def test_real_tables_are_looked_up_by_the_options_file():
    if not RETAIL.exists() and not os.environ.get("CI"):
        pytest.skip("the real data is not here")
    environment = DatabaseLookup({"database": str(RETAIL)})
    assert environment.config.content_paths() == (RETAIL,)
    episode = environment.open(Task("u", "?"))
    assert episode.reply("get orders #W2378156 user_id") == "yusuf_rossi_9620"
    assert episode.reply("get users noah_brown_6181 address.zip") == "80279"


def test_the_environments_pass_the_conformance_kit():
    cases = [{"id": "desk", "completion": "", "expected": 1, "reference": "852", "task": dict(DESK.data)}]
    for name, given in (("calculator", None), ("database", cases)):
        results = check_component("environment", f"collegium-verifier-tools/{name}", cases=given)
        assert {result.status for result in results} == {"passed"}, results
