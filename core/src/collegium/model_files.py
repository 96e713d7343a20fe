"""Model folders, checked without loading them: what is missing, what is cut short (no torch)."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from collegium.errors import PolicyError

WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
TOKENIZERS = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json")


def tokenizer_hashes(model: Path) -> dict[str, str]:
    """Return hashes of a saved model's tokenizer and chat template; empty for an artifact without a tokenizer."""
    found = {}
    for key, name in (("tokenizer", "tokenizer.json"), ("chat_template", "chat_template.jinja")):
        if (model / name).is_file():
            found[key] = hashlib.sha256((model / name).read_bytes()).hexdigest()
    return found


def is_local(path: str) -> bool:
    """Tell a local path from a hub name (``name`` or ``owner/name``)."""
    return Path(path).exists() or path.startswith((".", "/", "~")) or path.count("/") > 1


def check_model_folder(path: str | Path) -> None:
    """Check that a folder holds config, weights and tokenizer, and that no weight file is cut short.

    Raises:
        PolicyError: If it does not; says what is wrong with which file.
    """
    folder = Path(path)
    faults = list(_faults(folder))
    if faults:
        raise PolicyError(
            f"{str(folder)!r} is not a model checkpoint: {'; '.join(faults)}",
            fix="point to a folder written by save_pretrained (model and tokenizer), or run the stage that makes it",
        )


def _faults(folder: Path) -> Iterator[str]:
    if not folder.is_dir():
        yield "there is no such folder"
        return
    if not (folder / "config.json").is_file():
        yield "config.json is missing"
    if not any((folder / name).is_file() for name in WEIGHTS):
        yield f"weights are missing ({WEIGHTS[0]} or another)"
    if not any((folder / name).is_file() for name in TOKENIZERS):
        yield "a tokenizer is missing (tokenizer.json)"
    for file in sorted(folder.glob("*.safetensors")):
        fault = _safetensors_fault(file)
        if fault:
            yield f"{file.name} {fault}"


def safetensors_headers(folder: Path) -> list[dict[str, Any]]:
    """Return the headers of a folder's safetensors files: each tensor's name to its `dtype` and `shape`."""
    headers = []
    for file in sorted(folder.glob("*.safetensors")):
        with open(file, "rb") as content:
            header = json.loads(content.read(int.from_bytes(content.read(8), "little")))
        header.pop("__metadata__", None)
        headers.append(header)
    return headers


def _safetensors_fault(file: Path) -> str | None:
    """Compare a safetensors file's size with what its header promises (8 bytes length, JSON header, tensors)."""
    size = os.stat(file).st_size
    with open(file, "rb") as content:
        length = int.from_bytes(content.read(8), "little")
        if size < 8 or length > size - 8:
            return f"is cut short within its header ({size} bytes)"
        try:
            header = json.loads(content.read(length))
            end = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
        except (ValueError, KeyError, TypeError, IndexError):
            return "has a header that cannot be read"
    expected = 8 + length + end
    return None if size == expected else f"has {size} bytes, its header promises {expected}"
