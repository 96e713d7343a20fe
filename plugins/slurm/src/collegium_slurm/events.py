"""What the workers of a job wrote: JSON Lines in a file per node."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from collegium.job import StageEvent, StageOutcome

RANK_DIED = "RankDied"


class EventFile:
    """The events of one node's worker, read as they come."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.unreadable = 0
        """Lines that were skipped: a full disk tears them."""
        self._read = 0

    def fresh(self) -> Iterator[StageEvent | StageOutcome]:
        """Yield what is new; a line that is not whole yet is left for the next time."""
        with contextlib.suppress(FileNotFoundError), open(self.path, "rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._read += len(line)
                message = _message(line)
                if message is not None:
                    yield message
                else:
                    self.unreadable += 1


def _message(line: bytes) -> StageEvent | StageOutcome | None:
    """Return what a line says; None if it is nothing that a worker writes."""
    try:
        message = json.loads(line)
        if not isinstance(message, dict):
            return None
        if "outcome" in message:
            return StageOutcome.model_validate(message["outcome"])
        return StageEvent.model_validate(message.get("event"))
    except (ValueError, RecursionError):  # pydantic's error is a ValueError
        return None


def cause_elsewhere(folder: Path, outcome: StageOutcome) -> StageOutcome:
    """Return the outcome, or, when it only says that ranks died, the error of the node that made them die."""
    if outcome.kind != RANK_DIED:
        return outcome
    for path in sorted(folder.glob("events-*.jsonl")):
        for message in EventFile(path).fresh():
            if isinstance(message, StageOutcome) and message.status == "failed" and message.kind != RANK_DIED:
                return message
    return outcome
