"""Rows of earlier rounds, read strictly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from collegium import DataError
from collegium.kinds.data_files import read_json_lines
from collegium.training.context import StageContext
from collegium.training.supervised_data import DATA_FILE

OWNER = "collegium-rejection-sampling"


def read_earlier(context: StageContext) -> list[dict[str, Any]]:
    """Return the rows of `data_from`.

    Raises:
        DataError: If a file is missing or malformed, a row was not left by this stage, or a prompt is held out.
    """
    rows = [row for folder in context.inputs("data_from") for row in _read(Path(folder) / DATA_FILE)]
    context.refuse_held_out([_text(row["prompt"]) for row in rows], "the earlier rounds' rows")
    return rows


def _read(file: Path) -> list[dict[str, Any]]:
    return [_checked(row, file, line) for line, row in read_json_lines(file, owner=OWNER)]


def _checked(row: dict[str, Any], file: Path, line: int) -> dict[str, Any]:
    wanted: dict[str, type | tuple[type, ...]] = {
        "prompt": (str, list),
        "completion": (str, list),
        "score": (int, float),
        "round": int,
    }
    wrong = [name for name, kind in wanted.items() if not isinstance(row.get(name), kind)]
    if wrong:
        raise DataError(
            f"{file}:{line}: expected a row of a rejection-sampling stage, and {', '.join(wrong)} is missing or of "
            "another type",
            fix="name rejection-sampling stages in data_from",
            owner=OWNER,
        )
    return row


def _text(prompt: Any) -> str:
    return prompt if isinstance(prompt, str) else "\n\n".join(turn["content"] for turn in prompt)
