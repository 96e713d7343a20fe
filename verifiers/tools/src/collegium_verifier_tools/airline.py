"""The airline desk of tau-bench without its database: what is compared are the writing calls themselves.

Calls on different reservations or users commute; calls on the same one keep their order, except that passengers are a
field of their own that no other call touches.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from collegium_verifier_tools.database import Database
from collegium_verifier_tools.environment import Environment, Tool, ToolError

WRITES = {
    "book_reservation": "user_id",
    "send_certificate": "user_id",
    "cancel_reservation": "reservation_id",
    "update_reservation_baggages": "reservation_id",
    "update_reservation_flights": "reservation_id",
    "update_reservation_passengers": "reservation_id",
}
"""Each writing tool and the argument that says whom or what it changes."""
READS = (
    "calculate", "get_reservation_details", "get_user_details", "list_all_airports", "search_direct_flight",
    "search_onestop_flight", "think",
)  # fmt: skip


def _recorder(tool: str, target: str) -> Callable[[Database, dict[str, Any]], None]:
    table = "passengers" if tool == "update_reservation_passengers" else "writes"

    def record(database: Database, arguments: dict[str, Any]) -> None:
        key = arguments.get(target)
        if not isinstance(key, str):
            raise ToolError(f"argument {target} must be text")
        database.edit(table, key, []).append([tool, _canonical(_plain(arguments))])

    return record


def _plain(arguments: dict[str, Any]) -> dict[str, Any]:
    """Leave out what the desk fills in itself, whatever a call says: a flight's ends and price."""
    flights = arguments.get("flights")
    if not isinstance(flights, list) or not all(isinstance(flight, dict) for flight in flights):
        return arguments
    own = ("origin", "destination", "price")
    return arguments | {"flights": [{k: v for k, v in flight.items() if k not in own} for flight in flights]}


def _canonical(value: Any) -> str:
    """Return one text per JSON value: keys sorted, 50.0 as 50, and True apart from 1."""
    return json.dumps(_whole(value), sort_keys=True)


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _read(_database: Database, _arguments: dict[str, Any]) -> None:
    """Change nothing."""


AIRLINE_WRITES = Environment(
    {name: Tool(_recorder(name, target)) for name, target in WRITES.items()}
    | {name: Tool(_read, writes=False) for name in READS}
    | {"transfer_to_human_agents": Tool(_read, writes=False, terminates=True)},
    needs_tables=False,
)
"""Records the writing calls; to be compared with the gold's."""
