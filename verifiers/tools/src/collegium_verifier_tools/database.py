"""A database of records by table and key, changed record by record, so that a replay copies only what it touches."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from collegium.errors import DataError
from collegium.kinds.data_files import find_data_folder, read_json_lines

OWNER = "collegium-verifier-tools"
Tables = Mapping[str, Mapping[str, Any]]
"""Table name to its records by key."""
Changes = dict[tuple[str, str], Any]
"""Table and key of each record that differs from the start, and the record."""


class Database:
    """A view of tables that keeps changes apart; the tables themselves are never written.

    What `edit` hands out joins the state with `commit` and is gone with `rollback`: a failing call leaves no trace.
    """

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._changed: Changes = {}
        self._pending: Changes = {}

    def find(self, table: str, key: str) -> Any | None:
        """Return a record to read, or None."""
        for layer in (self._pending, self._changed):
            if (table, key) in layer:
                return layer[table, key]
        return self._tables.get(table, {}).get(key)

    def edit(self, table: str, key: str, new: Any = None) -> Any:
        """Return a record to change in place: a copy of what is there, else `new`."""
        place = (table, key)
        if place not in self._pending:
            found = self.find(table, key)
            self._pending[place] = new if found is None else copy.deepcopy(found)
        return self._pending[place]

    def records(self, table: str) -> Iterator[tuple[str, Any]]:
        """Yield key and record of a table as it was at the start, changed ones as they are."""
        for key in self._tables.get(table, {}):
            yield key, self.find(table, key)

    def commit(self) -> None:
        """Keep what was edited."""
        self._changed |= self._pending
        self._pending = {}

    def rollback(self) -> None:
        """Forget what was edited."""
        self._pending = {}

    def changes(self) -> Changes:
        """Return the records that are not as they were at the start."""
        start = {place: self._tables.get(place[0], {}).get(place[1]) for place in self._changed}
        return {place: record for place, record in self._changed.items() if record != start[place]}


def difference(found: Any, wanted: Any, path: str = "") -> str | None:
    """Return the first place at which two values differ, with both values cut short, or None."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in [*wanted, *(key for key in found if key not in wanted)]:
            if key not in found or key not in wanted:
                return f"{path}.{key} is {'missing' if key in wanted else 'not expected'}"
            if reason := difference(found[key], wanted[key], f"{path}.{key}"):
                return reason
        return None
    if isinstance(found, list) and isinstance(wanted, list) and len(found) == len(wanted):
        places = enumerate(zip(found, wanted, strict=True))
        return next((reason for at, (one, two) in places if (reason := difference(one, two, f"{path}[{at}]"))), None)
    return None if found == wanted else f"{path} is {_short(found)}, expected {_short(wanted)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def located(file: Path) -> Path:
    """Return where a file is: a relative path is looked for here, then in the data folder (see ``COLLEGIUM_DATA``)."""
    folder = None if file.is_file() or file.is_absolute() else find_data_folder([str(file)])
    return file if folder is None else folder / file


def load_tables(file: Path) -> Tables:
    """Return the tables of a JSON Lines file of ``{"table", "key", "record"}``, gzipped or not.

    Raises:
        DataError: If the file is missing, or a row is no record; names the row.
    """
    file = located(file)
    tables: dict[str, dict[str, Any]] = {}
    for line, row in read_json_lines(file, owner=OWNER):
        if not isinstance(row.get("table"), str) or not isinstance(row.get("key"), str) or "record" not in row:
            raise DataError(f'{file}:{line}: expected {{"table": text, "key": text, "record": ...}}', owner=OWNER)
        tables.setdefault(row["table"], {})[row["key"]] = row["record"]
    return tables
