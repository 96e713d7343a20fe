"""Environments: named tools that read and change a database, and the replay of a trajectory on one."""

from __future__ import annotations

import importlib
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from collegium.errors import ConfigError
from collegium_verifier_tools.database import OWNER, Changes, Database, Tables
from collegium_verifier_tools.parsing import Call
from collegium_verifier_tools.trajectory import Step

BUILT_IN = {
    "retail": "collegium_verifier_tools.retail:RETAIL",
    "airline-writes": "collegium_verifier_tools.airline:AIRLINE_WRITES",
}
"""Name to ``module:attr``; another package's environment is named by its ``module:attr`` itself."""


class ToolError(Exception):
    """A tool refuses its call, for a reason that an agent would be told. The state stays as it was."""


@dataclass(frozen=True, slots=True)
class Tool:
    """One function that an agent may call.

    Args:
        run: Takes the database and the arguments by name; returns what the agent would see; raises `ToolError`. Any
            other exception is a fault of the environment and makes an `Error`, never a score.
        arguments: Name of each argument to ``str``, ``list`` (of text) or ``object`` (anything); all are required.
            None: any arguments.
        writes: Whether it may change the database. A gold call of such a tool must succeed; a look-up may fail.
        terminates: The episode ends with this call; what comes after it is not replayed.
    """

    run: Callable[..., Any]
    arguments: Mapping[str, type] | None = None
    writes: bool = True
    terminates: bool = False


@dataclass(frozen=True, slots=True)
class Environment:
    """Tools by name, and whether they need tables to start from."""

    tools: Mapping[str, Tool]
    needs_tables: bool = True


@dataclass(slots=True)
class Outcome:
    """What a replay left: changed records, the agent's words, and the calls that failed, in order.

    `refused` is the first failure that is not a known look-up's: of a writing or unknown tool.
    """

    changes: Changes = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    refused: str | None = None


def resolve(name: str) -> Environment:
    """Return an environment by its name or ``module:attr``.

    Raises:
        ConfigError: If there is none.
    """
    module, colon, attribute = BUILT_IN.get(name, name).partition(":")
    if not colon:
        raise ConfigError(
            f"no environment {name!r}; there are {sorted(BUILT_IN)}", fix="name one, or 'module:attr'", owner=OWNER
        )
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"environment {name!r} cannot be imported: {error}", owner=OWNER) from error
    if not isinstance(found, Environment):
        raise ConfigError(f"{name!r} is {type(found).__name__}, expected an Environment", owner=OWNER)
    return found


def replay(steps: Sequence[Step], environment: Environment, tables: Tables, *, end: bool = True) -> Outcome:
    """Carry out a trajectory on a copy of the tables; with `end`, up to the call that ends the episode."""
    outcome, database = Outcome(), Database(tables)
    for step in steps:
        if isinstance(step, str):
            outcome.said.append(step)
            continue
        if reason := perform(step, environment, database):
            outcome.failed.append(f"{reprlib.repr(step.name)}: {reason}")
            if step.name not in environment.tools or environment.tools[step.name].writes:
                outcome.refused = outcome.refused or outcome.failed[-1]
        elif end and environment.tools[step.name].terminates:
            break
    outcome.changes = database.changes()
    return outcome


def perform(call: Call, environment: Environment, database: Database) -> str | None:
    """Make one call; return why it failed, with the state unchanged, or None."""
    tool = environment.tools.get(call.name)
    if tool is None:
        return "no such tool"
    if (wrong := _misfit(call.arguments, tool.arguments)) is not None:
        return wrong
    try:
        tool.run(database, **call.arguments) if tool.arguments is not None else tool.run(database, call.arguments)
    except ToolError as error:
        database.rollback()
        return str(error)
    database.commit()
    return None


def _misfit(given: Mapping[str, Any], wanted: Mapping[str, type] | None) -> str | None:
    if wanted is None:
        return None
    if set(given) != set(wanted):
        odd = sorted(set(given) ^ set(wanted))[0]
        return f"argument {reprlib.repr(odd)} is {'missing' if odd in wanted else 'unknown'}"
    for name, kind in wanted.items():
        value = given[name]
        texts = not isinstance(value, list) or all(isinstance(item, str) for item in value)
        if not isinstance(value, kind) or (kind is list and not texts):
            return f"argument {name} must be {'a list of text' if kind is list else kind.__name__}"
    return None
