"""Log files that other processes write, kept bounded."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

LARGEST_LOG = 64 * 2**20
"""Bytes that a worker's log may have: beyond them what it holds is dropped, so that prints never fill the disk."""
KEPT_LOG = 2**20
"""Bytes of its end that are kept then."""


def bound_log(log: Path) -> None:
    """Cut a log that has grown too large to its end; its writers append, so they go on at its new end."""
    with contextlib.suppress(FileNotFoundError), open(log, "a+b") as file:
        size = os.fstat(file.fileno()).st_size
        if size > LARGEST_LOG:
            file.seek(size - KEPT_LOG)
            tail = file.read(KEPT_LOG)
            file.truncate(0)
            file.write(b"[%d bytes of output were dropped here]\n" % (size - len(tail)) + tail)
