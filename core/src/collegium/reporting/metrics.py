"""Read a stage's metrics.jsonl."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the steps' metrics; empty for a stage without steps. A torn last line (after a kill) is left out."""
    if not path.is_file():
        return []
    lines = path.read_bytes().rstrip(b"\n").split(b"\n")
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(json.loads(line))
        except ValueError:
            if number < len(lines):
                raise
    return found
