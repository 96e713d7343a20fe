"""Whether a node sees the folder that the run writes to."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path

from collegium import StoreError
from collegium_ray.config import OWNER

PATIENCE_S = 10.0
"""Seconds that a network file system may take to show a new file on another node."""


def write_token(folder: Path) -> Path:
    """Write a file with a random name and its name as content, for a node to find."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f".seen-{secrets.token_hex(8)}"
    path.write_text(path.name, encoding="utf-8")
    return path


def require_shared(token: Path, node: str, patience_s: float = PATIENCE_S) -> None:
    """Check on a node that it sees the run's token and can write beside it.

    Raises:
        StoreError: If it does not: the folder is not on a file system that the nodes share.
    """
    end = time.monotonic() + patience_s
    while not _reads(token) and time.monotonic() < end:
        time.sleep(0.2)
    if not _reads(token):
        raise StoreError(
            f"node {node} does not see the run's folder {str(token.parent)!r}: the file that the run wrote there is "
            "missing on it",
            fix="--out DIR, a folder on a file system that every node mounts at the same path",
            owner=OWNER,
        )
    if not os.access(token.parent, os.W_OK):
        raise StoreError(
            f"node {node} cannot write to the run's folder {str(token.parent)!r}",
            fix="mount it for writing on every node, or --out DIR",
            owner=OWNER,
        )


def _reads(token: Path) -> bool:
    try:
        return token.read_text(encoding="utf-8") == token.name
    except OSError:
        return False
