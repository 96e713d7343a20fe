"""Data files: every fault names the file and the line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from collegium import DataError, Task
from collegium.training.supervised_data import read_examples, read_labelled, refuse_held_out
from collegium.training.tokenizers import character_tokenizer

TOKENIZER = character_tokenizer("abcdefgh")


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_rows_become_examples_whose_completion_is_trained(tmp_path: Path):
    file = write(tmp_path / "rows.jsonl", '{"prompt": "ab", "completion": "c"}\n{"prompt": "d", "completion": "ef"}\n')
    first, second = read_examples(TOKENIZER, file)
    assert (first.token_ids, first.start, first.name) == ((2, 3, 4, 1), 2, "rows.jsonl:1")
    assert (second.token_ids, second.start) == ((5, 6, 7, 1), 1)


def test_a_row_may_say_its_domain_and_a_file_may_be_gzipped(tmp_path: Path):
    rows = [{"prompt": "a", "completion": "b", "domain": "d"}, {"instruction": "ab", "output": "c"}]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    found = read_labelled(character_tokenizer("abc\n"), tmp_path / "rows.jsonl.gz")
    assert [domain for domain, _ in found] == ["d", ""]
    assert found[1][1].token_ids == (2, 3, 5, 4, 1)


def test_a_data_artifact_is_a_folder(tmp_path: Path):
    write(tmp_path / "data.jsonl", json.dumps({"prompt": "a", "completion": "b"}) + "\n")
    assert len(read_examples(TOKENIZER, tmp_path)) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"prompt": "a", "completion": "b"}\n{"prompt": "a", "compl', r"rows\.jsonl:2: not JSON"),
        ('{"prompt": "a", "completion": "b"}\nnot json\n', r"rows\.jsonl:2: not JSON"),
        ('{"prompt": "a"}\n', r"rows\.jsonl:1: expected .*found {'prompt': 'str'}"),
        ('["a"]\n', r"rows\.jsonl:1: expected .*found list"),
        ('{"prompt": 3, "completion": "b"}\n', r"rows\.jsonl:1: expected .*found {'prompt': 'int'"),
        ('{"prompt": "", "completion": "b"}\n', r"rows\.jsonl:1: expected"),
        ("", "the file is empty"),
    ],
)
def test_a_bad_file_is_an_error_with_its_line(tmp_path: Path, text, said):
    with pytest.raises(DataError, match=said):
        read_examples(TOKENIZER, write(tmp_path / "rows.jsonl", text))


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path):
    with pytest.raises(DataError, match=r"nowhere\.jsonl.*cannot be read"):
        read_examples(TOKENIZER, tmp_path / "nowhere.jsonl")


def test_a_row_with_a_held_out_prompt_is_refused(tmp_path: Path):
    file = write(tmp_path / "rows.jsonl", '{"prompt": "ab", "completion": "c"}\n{"prompt": "d", "completion": "ef"}\n')
    rows = read_examples(TOKENIZER, file)
    refuse_held_out(TOKENIZER, rows, [Task("heldout-1", "abc"), Task("heldout-2", "de")], "rows.jsonl")
    with pytest.raises(DataError, match=r"row 'rows.jsonl:2' has the prompt of the held-out task 'heldout-3'"):
        refuse_held_out(TOKENIZER, rows, [Task("heldout-3", "d")], "rows.jsonl")
