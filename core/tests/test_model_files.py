"""Model folders, checked without loading them."""

from __future__ import annotations

import json

import pytest

from collegium.errors import PolicyError
from collegium.model_files import check_model_folder, is_local


def save(folder, *, cut=0):
    folder.mkdir()
    header = json.dumps({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    content = len(header).to_bytes(8, "little") + header + bytes(16)
    (folder / "model.safetensors").write_bytes(content[: len(content) - cut])
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer.json").write_text("{}")
    return folder


def test_a_whole_folder_passes(tmp_path):
    check_model_folder(save(tmp_path / "m"))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_missing_file_is_named(tmp_path, name):
    folder = save(tmp_path / "m")
    (folder / name).unlink()
    with pytest.raises(PolicyError, match=name):
        check_model_folder(folder)


@pytest.mark.parametrize(("cut", "words"), [(1, "its header promises"), (30, "cut short within its header")])
def test_cut_weights_are_refused(tmp_path, cut, words):
    with pytest.raises(PolicyError, match=words):
        check_model_folder(save(tmp_path / "m", cut=cut))


def test_no_folder_is_refused(tmp_path):
    with pytest.raises(PolicyError, match="no such folder"):
        check_model_folder(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("path", "local"), [("./x", True), ("/x", True), ("a/b/c", True), ("gpt2", False), ("o/m", False)]
)
def test_hub_names_are_told_from_paths(path, local):
    assert is_local(path) is local
