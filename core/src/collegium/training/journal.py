"""The stage's journal: `metrics.jsonl` and `samples.jsonl`, cut back to the checkpoint when a stage is resumed."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from collegium.errors import StoreError

LOGGED_SAMPLES = 16
"""Samples of a step that are written down."""


class Journal:
    """Append-only JSON Lines files of one stage; each line carries its step.

    Args:
        directory: The stage's folder.
    """

    def __init__(self, directory: Path) -> None:
        self.metrics_path = directory / "metrics.jsonl"
        self.samples_path = directory / "samples.jsonl"

    def metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append one step's metrics."""
        _append(self.metrics_path, [{"step": step, **metrics}])

    def samples(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append at most `LOGGED_SAMPLES` of a step's samples, spread over all of them."""
        stride = max(1, -(-len(rows) // LOGGED_SAMPLES))
        _append(self.samples_path, [{"step": step, **row} for row in rows[::stride]])

    def cut(self, step: int) -> None:
        """Drop every line of a later step, and a line that was not finished."""
        for path in (self.metrics_path, self.samples_path):
            if path.exists():
                _rewrite(
                    path,
                    [line for line in path.read_bytes().decode("utf-8", "replace").split("\n") if _belongs(line, step)],
                )

    def last_metrics(self) -> dict[str, float]:
        """Return the metrics of the last step; empty if there is none."""
        if not self.metrics_path.exists():
            return {}
        lines = self.metrics_path.read_text(encoding="utf-8").rstrip("\n").split("\n")
        return {name: value for name, value in json.loads(lines[-1]).items() if name != "step"} if lines[-1] else {}


def finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the metrics that are finite numbers, as floats (a mean over nothing is no metric)."""
    return {name: float(value) for name, value in metrics.items() if math.isfinite(value)}


def _belongs(line: str, step: int) -> bool:
    try:
        return int(json.loads(line)["step"]) <= step
    except ValueError:  # the stage was killed while it wrote this line
        return False


def _append(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    try:
        with path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    except OSError as error:
        raise StoreError(
            f"cannot write {str(path)!r}: {error}", fix="free space, or check the folder's rights"
        ) from error


def _rewrite(path: Path, lines: Sequence[str]) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    os.replace(part, path)
