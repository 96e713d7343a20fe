"""The run directory: where a run keeps what people and `resume` read.

``recipe.yaml`` (resolved), ``recipe.lock.json``, ``events.jsonl``, ``stages/<id>/``, ``report.json``, ``report.html``.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from collegium.errors import StoreError
from collegium.store import read_json, write_json

RECIPE = "recipe.yaml"
LOCK = "recipe.lock.json"
EVENTS = "events.jsonl"
REPORT = "report.json"
HTML = "report.html"
HELD = ".held"
STORE = ".store"
MARKERS = (RECIPE, LOCK, EVENTS, REPORT, HTML, "stages")


def escape(value: Any) -> Any:
    """Escape what would be interpolated when a resolved recipe is loaded again."""
    if isinstance(value, dict):
        return {key: escape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [escape(item) for item in value]
    return value.replace("${", "\\${") if isinstance(value, str) else value


class RunDirectory:
    """One run's folder; held by one process at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held: int | None = None

    @classmethod
    def create(cls, path: Path, resolved: Mapping[str, Any]) -> RunDirectory:
        """Make a folder for a new run; an earlier run in it moves, whole, to ``previous/N``.

        Raises:
            StoreError: If the folder holds other things, is in use, or cannot be written.
        """
        directory = cls(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            ours = any((path / name).is_file() for name in (HELD, EVENTS, LOCK))
            directory.hold()
            directory._set_earlier_run_aside(ours=ours)
            (path / "stages").mkdir(exist_ok=True)
            text = yaml.safe_dump(escape(dict(resolved)), sort_keys=False, allow_unicode=True)
            (path / RECIPE).write_text(text, encoding="utf-8")
        except OSError as error:
            directory.release()
            if isinstance(error, StoreError):
                raise
            raise StoreError(f"cannot write the run directory {str(path)!r}: {error}", fix="--out DIR") from error
        return directory

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """Open an existing run.

        Raises:
            StoreError: If the folder is no run.
        """
        if not (path / RECIPE).is_file():
            raise StoreError(f"{str(path)!r} is no run directory: it has no {RECIPE}", fix="collegium run RECIPE")
        return cls(path)

    def hold(self) -> None:
        """Take the folder for this process.

        Raises:
            StoreError: If another process runs in it.
        """
        held = os.open(self.path / HELD, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._held = held
        except OSError:
            os.close(held)
            raise StoreError(f"another process is running in {str(self.path)!r}", fix="wait, or --out DIR") from None

    def remember_store(self, location: str) -> None:
        """Write down where the run's artifacts are (a folder or a URL), for `resume`."""
        (self.path / STORE).write_text(location + "\n", encoding="utf-8")

    def store_location(self) -> str | None:
        """Return where the run's artifacts are, if it was written down."""
        path = self.path / STORE
        return path.read_text(encoding="utf-8").strip() if path.is_file() else None

    def release(self) -> None:
        """Let the folder go."""
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def _set_earlier_run_aside(self, *, ours: bool) -> None:
        """Move an earlier run to ``previous/N``; other people's files are refused and left as they are."""
        present = [name for name in MARKERS if (self.path / name).exists()]
        strangers = sorted(
            item.name for item in self.path.iterdir() if item.name not in (*MARKERS, "previous", HELD, STORE)
        )
        if (strangers or present) and not ours:
            (self.path / HELD).unlink()
            raise StoreError(
                f"{str(self.path)!r} holds other files ({', '.join([*present, *strangers][:3])}), not a run",
                fix="--out NEW_DIR",
            )
        if not present:
            return
        parent = self.path / "previous"
        parent.mkdir(exist_ok=True)
        number = 1 + max((int(item.name) for item in parent.iterdir() if item.name.isdigit()), default=0)
        aside = parent / str(number)
        aside.mkdir()
        for name in present:
            shutil.move(str(self.path / name), str(aside / name))

    def stage(self, stage_id: str) -> Path:
        """Return a stage's folder."""
        return self.path / "stages" / stage_id

    def status(self, stage_id: str) -> dict[str, Any] | None:
        """Return a stage's status; None before its first start, or if it cannot be read."""
        try:
            found = read_json(self.stage(stage_id) / "status.json")
        except StoreError:  # missing, or torn: the stage is looked at anew
            return None
        return found if isinstance(found, dict) else None

    def set_status(self, stage_id: str, status: Mapping[str, Any]) -> None:
        """Write a stage's status."""
        write_json(self.stage(stage_id) / "status.json", status)

    def event(self, kind: str, **facts: Any) -> None:
        """Append an event, with the time, to ``events.jsonl``."""
        line = json.dumps({"time": round(time.time(), 3), "event": kind, **facts})
        descriptor = os.open(self.path / EVENTS, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, line.encode() + b"\n")
        finally:
            os.close(descriptor)

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield the events; a line torn by a kill is skipped (only the last one can be)."""
        path = self.path / EVENTS
        for line in path.read_bytes().split(b"\n") if path.is_file() else ():
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict) and isinstance(event.get("time"), (int, float)) and "event" in event:
                yield event

    def active_seconds(self) -> float:
        """Return the seconds that the run was alive, over all its starts."""
        total, last = 0.0, None
        for event in self.events():
            if last is not None and event["event"] not in ("run-started", "run-resumed"):
                total += event["time"] - last
            last = event["time"]
        return round(total, 2)
