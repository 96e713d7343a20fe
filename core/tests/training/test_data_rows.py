"""Rows of data artifacts: read strictly, written as they are read, system prompts put before them."""

from __future__ import annotations

import json

import pytest

from collegium import DataError
from collegium.task import Task, Turn
from collegium.training.data_rows import (
    plain_completion,
    plain_prompt,
    prompt_text,
    read_rows,
    with_system_prompt,
    write_rows,
)

USER = {"role": "user", "content": "u"}


def test_rows_of_either_form_are_read_and_further_keys_stay(tmp_path):
    rows = [
        {"prompt": "p", "completion": "c", "domain": "d"},
        {"prompt": [USER], "completion": [{"text": "a", "sampled": True}]},
        {"id": 1, "instruction": "i", "input": "n", "output": "o"},
        {"instruction": "i", "input": "", "output": "o"},
    ]
    write_rows(tmp_path, {"x.jsonl": rows})
    found = list(read_rows(tmp_path / "x.jsonl", owner="me"))
    assert [name for name, _ in found] == ["x.jsonl:1", "x.jsonl:2", "x.jsonl:3", "x.jsonl:4"]
    assert [row for _, row in found] == [
        *rows[:2],
        {"id": 1, "prompt": "i\nn\n", "completion": "o"},
        {"prompt": "i\n", "completion": "o"},
    ]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "", "completion": "c"},
        {"prompt": [], "completion": "c"},
        {"prompt": [{"role": "user"}], "completion": "c"},
        {"prompt": "p", "completion": 3},
        {"prompt": "p"},
        {"instruction": "", "output": "o"},
        {"instruction": "i", "input": None, "output": "o"},
        {"completion": "c"},
    ],
)
def test_a_malformed_row_is_named(tmp_path, row):
    (tmp_path / "x.jsonl").write_text(json.dumps({"prompt": "p", "completion": "c"}) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(DataError, match=r"x\.jsonl:2: expected") as caught:
        list(read_rows(tmp_path / "x.jsonl", owner="me"))
    assert caught.value.owner == "me"


def test_a_system_prompt_is_text_before_text_and_a_message_before_messages():
    system = {"role": "system", "content": "s"}
    assert with_system_prompt("p", "s\n") == "s\np"
    assert with_system_prompt([USER], "s") == [system, USER]
    assert with_system_prompt([system, USER], "t") == [{"role": "system", "content": "t\n\ns"}, USER]


def test_prompts_and_completions_are_plain_json():
    assert plain_prompt(Task("1", "p")) == "p"
    assert plain_prompt(Task("1", (USER,))) == [USER]
    assert prompt_text([USER, USER]) == "u\n\nu"
    assert plain_completion("c") == "c"
    assert plain_completion((Turn("a"), Turn("b", sampled=False))) == [
        {"text": "a", "sampled": True},
        {"text": "b", "sampled": False},
    ]
    with pytest.raises(DataError, match="has pictures"):
        plain_prompt(Task("1", "p", images=(b"x",)))
