"""Answers that were given before, by digest of what was asked: in memory, or in a file that outlives the run."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from collegium import ConfigError

MOST_IN_MEMORY = 50_000
"""Answers that are kept without a file; the oldest go first."""


def digest_of(fields: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a JSON object; lone surrogates are escaped, so every text has one."""
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


class AnswerCache:
    """A table of digest and answer. Safe to use from several threads, a file also from several processes.

    Only usable answers are kept: a failure is asked again.

    Raises:
        ConfigError: If the file cannot be opened or is not such a table.
    """

    def __init__(self, path: Path | None) -> None:
        self._lock = threading.Lock()
        self._bounded = path is None
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._table = sqlite3.connect(path or ":memory:", timeout=30, check_same_thread=False, isolation_level=None)
            self._table.execute("CREATE TABLE IF NOT EXISTS answers (digest TEXT PRIMARY KEY, answer TEXT NOT NULL)")
            self._table.execute("SELECT digest, answer FROM answers LIMIT 1").fetchall()
        except (sqlite3.Error, OSError) as error:
            raise ConfigError(
                f"the judge's cache {str(path)!r} cannot be used: {error}",
                fix="name a file that this option made, or one that does not exist yet",
                owner="collegium-verifier-judge",
            ) from error

    def take(self, digest: str) -> dict[str, Any] | None:
        """Return an answer, or None."""
        with self._lock:
            row = self._table.execute("SELECT answer FROM answers WHERE digest = ?", (digest,)).fetchone()
        if row is None:
            return None
        found: dict[str, Any] = json.loads(row[0])
        return found

    def store(self, digest: str, answer: Mapping[str, Any]) -> None:
        """Keep an answer; the first one stays."""
        with self._lock:
            self._table.execute("INSERT OR IGNORE INTO answers VALUES (?, ?)", (digest, json.dumps(answer)))
            if self._bounded:
                newest = "(SELECT max(rowid) FROM answers)"
                self._table.execute(f"DELETE FROM answers WHERE rowid <= {newest} - ?", (MOST_IN_MEMORY,))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._table.close()
