"""Values of plugins and files that raise when they are read end as errors with an owner or a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from collegium.errors import DataError, RecipeError, StoreError
from collegium.judge import _JudgeBase
from collegium.kinds.data_files import read_json_lines
from collegium.plugins.guard import describe
from collegium.recipe.source import read_yaml
from collegium.store import read_json


class Unprintable(BaseException):
    def __str__(self) -> str:
        raise RuntimeError("no")


class Lying(list[object]):
    def __len__(self) -> int:
        return 2


def test_an_exception_that_cannot_be_shown_is_described_by_its_type() -> None:
    assert describe(Unprintable()) == "Unprintable: its message cannot be shown"


def test_a_list_that_lies_about_its_length_is_not_taken_for_a_batch() -> None:
    assert _JudgeBase._items(Lying(), 2) == ("0 verdicts", [])


@pytest.mark.parametrize("text", ["9" * 5000, "[" * 100_000])
def test_an_unreadable_line_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_text(text + "\n")
    with pytest.raises(DataError, match=r"cases\.jsonl:1"):
        list(read_json_lines(path, owner="x"))


def test_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_text('{"a": 1}\n', encoding="utf-8-sig")
    assert list(read_json_lines(path, owner="x")) == [(1, {"a": 1})]


def test_files_nested_too_deep_are_named(tmp_path: Path) -> None:
    path = tmp_path / "deep"
    path.write_text("a: " + "[" * 20_000)
    with pytest.raises(RecipeError):
        read_yaml(path)
    path.write_text("[" * 100_000)
    with pytest.raises(StoreError, match="deep"):
        read_json(path)
