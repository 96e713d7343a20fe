"""Preference pairs and their file (light: no torch).

A file has one JSON object per line: ``{"prompt": "text" or [{"role", "content"}, ...], "chosen": "text", "rejected":
"text"}``; other keys are ignored. In place of ``prompt`` a row may have ``instruction`` and ``input``, as instruction
data sets have. A stage that makes pairs leaves them in ``data/pairs.jsonl`` of its output.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collegium import DataError
from collegium.kinds.data_files import read_json_lines
from collegium.task import Message

OWNER = "collegium-dpo"
PAIRS_FILE = "pairs.jsonl"
"""Name of the file in a data artifact's folder."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A prompt with a better and a worse completion.

    Args:
        prompt: Plain text, or chat messages.
        chosen: The better completion.
        rejected: The worse one.
        name: What errors call it: file and line.
    """

    prompt: str | tuple[Message, ...]
    chosen: str
    rejected: str
    name: str = ""


def read_pairs(path: Path) -> list[Pair]:
    """Read the pairs of a JSON Lines file (gzipped if its name ends in ``.gz``) or of a data artifact's folder.

    Raises:
        DataError: If it is missing, truncated, empty or malformed; names file and line.
    """
    file = path / PAIRS_FILE if path.is_dir() else path
    return [_pair(row, f"{file.name}:{number}") for number, row in read_json_lines(file, owner=OWNER)]


def _pair(row: Mapping[str, Any], name: str) -> Pair:
    texts = [row.get(key) for key in ("chosen", "rejected")]
    prompt = _prompt(row)
    if prompt is None or not all(isinstance(text, str) for text in texts):
        raise DataError(
            f'{name}: expected {{"prompt": text or chat messages, "chosen": text, "rejected": text}}, found '
            f"{ {key: type(value).__name__ for key, value in row.items()} }",
            fix="mend the line",
            owner=OWNER,
        )
    return Pair(prompt, row["chosen"], row["rejected"], name)


def _prompt(row: Mapping[str, Any]) -> str | tuple[Message, ...] | None:
    """Return a row's prompt; None if it has none that can be read."""
    if "prompt" not in row:
        parts = [row.get("instruction"), row.get("input", "")]
        texts = [part for part in parts if isinstance(part, str)]
        return "\n".join([*filter(None, texts), ""]) if len(texts) == 2 and texts[0] else None
    prompt = row["prompt"]
    if isinstance(prompt, str):
        return prompt or None
    if isinstance(prompt, list) and prompt and all(map(_is_message, prompt)):
        return tuple(Message(role=turn["role"], content=turn["content"]) for turn in prompt)
    return None


def _is_message(turn: Any) -> bool:
    return isinstance(turn, dict) and all(isinstance(turn.get(key), str) for key in ("role", "content"))
