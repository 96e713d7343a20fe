"""The environment `database`: a turn that asks for a field of a record gets it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field

from collegium import DataError, Environment, EnvironmentConfig, Episode, Task
from collegium.kinds.environment import call_of
from collegium_verifier_tools.database import OWNER, Database, Tables, load_tables, located

NOTHING = "none"
"""The reply where there is no such table, record or field."""


class LookupConfig(EnvironmentConfig):
    """Options of the environment `database`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"database": "shop.jsonl.gz"}]})

    call: str = Field(default="get ", min_length=1)
    """What begins a turn's last line that is a call; ``TABLE KEY FIELD`` follows, ``FIELD.FIELD`` for one inside."""
    database: Path | None = None
    """JSON Lines of ``{"table", "key", "record"}``, gzipped or not, looked for here and in the folder that
    ``COLLEGIUM_DATA`` names; a task's own `database` (records by table and key) takes its place."""
    max_chars: int = Field(default=200, ge=1)
    """A longer value is cut there."""
    suffix: str = "\n"
    """What stands after each reply."""

    def content_paths(self) -> Sequence[Path]:
        """Return the database's file."""
        return () if self.database is None else (located(self.database),)


class DatabaseLookup(Environment):
    """Reply to ``get orders #W123 status`` with that field's value; a turn that calls nothing ends the episode.

    Texts are said as they are and other values as JSON; what is not there is ``none``. Nothing is ever written.
    """

    Config = LookupConfig

    def __init__(self, config: LookupConfig | Mapping[str, Any] | None = None) -> None:
        super().__init__(config)
        self._tables: Tables | None = None if self.config.database is None else load_tables(self.config.database)

    def open(self, task: Task) -> Episode:
        """Begin an episode on the task's database, or on the one of the options.

        Raises:
            DataError: If there is neither.
        """
        tables = task.data.get("database", self._tables)
        if not isinstance(tables, Mapping):
            raise DataError(
                f"task {task.id!r} has no database, and the environment's options name none",
                fix="set environment: {use: database, database: FILE}, or give each task data.database",
                owner=OWNER,
            )
        return _Lookups(Database(tables), self.config.call, self.config.max_chars)


class _Lookups(Episode):
    def __init__(self, database: Database, mark: str, most: int) -> None:
        self.database = database
        self.mark = mark
        self.most = most

    def reply(self, text: str) -> str | None:
        """Return a field's value."""
        asked = call_of(text, self.mark)
        if asked is None:
            return None
        table, _, rest = asked.partition(" ")
        key, _, path = rest.partition(" ")
        return _said(_field(self.database.find(table, key), path.strip()))[: self.most]


def _field(value: Any, path: str) -> Any:
    """Return what lies at ``FIELD.FIELD`` inside a record; None where there is no such field."""
    for name in path.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def _said(value: Any) -> str:
    if value is None:
        return NOTHING
    return value if isinstance(value, str) else json.dumps(value)
