"""The verifier `database-state`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field

from collegium import Completion, Error, Score, Task, Verdict, Verifier
from collegium import Config as BaseConfig
from collegium_verifier_tools.database import Tables, difference, load_tables, located
from collegium_verifier_tools.environment import Outcome, replay, resolve
from collegium_verifier_tools.outputs import unsaid
from collegium_verifier_tools.parsing import Call, NotCalls
from collegium_verifier_tools.trajectory import call_of, read_trajectory


class DatabaseStateVerifier(Verifier):
    """Score 1 if a trajectory leaves the database as the gold actions do and says what had to be said; 0 otherwise.

    A task's data: ``actions`` (the gold calls, ``{"name", "kwargs" or "arguments"}``), ``outputs`` (what the agent's
    messages must hold), and, unless the option `database` names a file, ``database``: records by table and key.
    """

    class Config(BaseConfig):
        """Options."""

        model_config = ConfigDict(json_schema_extra={"examples": [{"environment": "airline-writes"}]})

        environment: str = "retail"
        """`retail`, `airline-writes`, or ``module:attr`` of another package's `Environment`."""
        database: Path | None = None
        """JSON Lines of ``{"table", "key", "record"}``, gzipped or not; a task's own `database` takes its place."""
        trust_results: bool = False
        """Leave out calls whose `tool` message reports an error. Only for trajectories recorded in an environment."""
        max_chars: int = Field(default=1_000_000, ge=1)
        """A longer completion scores 0 unread."""
        max_calls: int = Field(default=128, ge=1)
        """More steps (calls and messages) of the agent score 0, none carried out."""

        def content_paths(self) -> Sequence[Path]:
            """Return the database's file."""
            return () if self.database is None else (located(self.database),)

    def __init__(self, config: Config | Mapping[str, Any] | None = None) -> None:
        super().__init__(config)
        self._environment = resolve(self.config.environment)
        self._tables: Tables | None = None if self.config.database is None else load_tables(self.config.database)

    def verify(self, completion: Completion, task: Task) -> Verdict:
        """Judge one completion; gold actions that fail are an error."""
        tables = self._start(task)
        if isinstance(tables, Error):
            return tables
        gold = self._gold(task, tables)
        if isinstance(gold, Error):
            return gold
        if len(completion.text) > self.config.max_chars:
            return _zero(f"longer than {self.config.max_chars} characters")
        try:
            steps = read_trajectory(completion.text, trust_results=self.config.trust_results)
        except NotCalls as error:
            return _zero(str(error))
        if not steps:
            return _zero("the agent did and said nothing")
        if len(steps) > self.config.max_calls:
            return _zero(f"more than {self.config.max_calls} steps")
        return _compare(replay(steps, self._environment, tables), gold, task.data.get("outputs", ()))

    def _start(self, task: Task) -> Tables | Error:
        given = task.data.get("database", self._tables)
        if given is None and self._environment.needs_tables:
            return Error(f"task {task.id}: no database: set the option `database`, or give the task one")
        if given is not None and not (
            isinstance(given, Mapping) and all(isinstance(t, Mapping) for t in given.values())
        ):
            return Error(f"task {task.id}: its database must be records by table and key")
        return given or {}

    def _gold(self, task: Task, tables: Tables) -> Outcome | Error:
        actions, outputs = task.data.get("actions"), task.data.get("outputs", ())
        if not isinstance(actions, list | tuple):
            return Error(f"task {task.id}: it needs a list `actions` in its data")
        if not isinstance(outputs, list | tuple) or not all(isinstance(output, str) and output for output in outputs):
            return Error(f"task {task.id}: its `outputs` must be a list of text")
        try:
            calls: list[Call] = [call_of(action) for action in actions]
        except (ValueError, RecursionError) as error:
            return Error(f"task {task.id}: its gold actions are malformed: {error}")
        # The agent's episode ends with a hand-over; the gold's list may go on after one.
        gold = replay(calls, self._environment, tables, end=False)
        return Error(f"task {task.id}: gold action fails: {gold.refused}") if gold.refused else gold


def _compare(found: Outcome, gold: Outcome, outputs: Any) -> Verdict:
    facts = {"failed_calls": found.failed[:3]} if found.failed else {}
    for table, key in [*gold.changes, *(place for place in found.changes if place not in gold.changes)]:
        place = f"{table}/{key[:80]}"
        if (table, key) not in found.changes:
            return _zero(f"{place} was not changed", facts)
        if (table, key) not in gold.changes:
            return _zero(f"{place} was changed", facts)
        if reason := difference(found.changes[table, key], gold.changes[table, key], place):
            return _zero(reason, facts)
    if (output := unsaid(outputs, found.said)) is not None:
        return _zero(f"the user was not told {output!r}", facts)
    return Score(1.0, {"changed": len(gold.changes)} | facts)


def _zero(reason: str, facts: Mapping[str, Any] | None = None) -> Score:
    return Score(0.0, {"mismatch": reason} | dict(facts or {}))
