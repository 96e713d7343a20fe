"""Where a recipe's data files lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from collegium import Config, DataError
from collegium.kinds.data_files import DataFiles, locate


class Options(Config):
    data: DataFiles = []


def test_one_name_is_a_list_of_one():
    assert Options.model_validate({"data": "a"}).data == ["a"]
    assert Options.model_validate({"data": ["a", "b"]}).data == ["a", "b"]
    assert Options().data == Options(data=None).data == []


def test_a_file_of_the_data_folder_is_found_by_the_variable_or_near_by(tmp_path, monkeypatch):
    near = tmp_path / "shared" / "data"
    near.mkdir(parents=True)
    (near / "x.jsonl").write_text("{}\n")
    here = tmp_path / "project" / "deep"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    monkeypatch.delenv("COLLEGIUM_DATA", raising=False)
    assert locate("$COLLEGIUM_DATA/x.jsonl") == near / "x.jsonl"
    monkeypatch.setenv("COLLEGIUM_DATA", "elsewhere")
    assert locate("$COLLEGIUM_DATA/x.jsonl") == Path("elsewhere/x.jsonl")
    assert locate("rows.jsonl") == Path("rows.jsonl")


def test_without_the_folder_the_error_says_what_to_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLLEGIUM_DATA", raising=False)
    with pytest.raises(DataError, match=r"no shared/data near .* holds 'x\.jsonl'"):
        locate("$COLLEGIUM_DATA/x.jsonl")
