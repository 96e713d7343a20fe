"""Checkpoints of a stage: written aside, flushed to disk, then renamed, so that one is either whole or not there."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from collegium.errors import PolicyError, StoreError

STATE_FILE = "state.pt"
ROOM = 2**20
"""Bytes that a disk which is not full has room for."""


class Checkpoints:
    """The checkpoints in one folder.

    Args:
        folder: Where they are; made when the first is written.
        keep: How many of the newest to keep.
    """

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder = folder
        self.keep = keep

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Write the state after `step` steps, then drop the oldest checkpoints.

        Raises:
            PolicyError: If something in it is neither a tensor nor plain data, which could not be read back safely.
        """
        _check_plain(state, "")
        final = self.folder / f"step-{step:08d}"
        write_aside(final, lambda folder: torch.save(state, folder / STATE_FILE))
        for old in self._complete()[: -self.keep]:
            shutil.rmtree(self.folder / old)

    def latest(self) -> dict[str, Any] | None:
        """Read the newest checkpoint that can be read; None if there is none.

        A damaged one is passed over: from an earlier one the stage comes to the same numbers.

        Raises:
            PolicyError: If there are checkpoints and none can be read.
        """
        failure: PolicyError | None = None
        for name in reversed(self._complete()):
            path = self.folder / name / STATE_FILE
            try:
                return dict(torch.load(path, map_location="cpu", weights_only=True))
            except Exception as error:
                failure = failure or PolicyError(
                    f"checkpoint {str(path)!r} cannot be read: {error}",
                    fix="delete its folder; the stage then starts earlier",
                )
        if failure is not None:
            raise failure
        return None

    def clear(self) -> None:
        """Remove all checkpoints."""
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def _complete(self) -> list[str]:
        if not self.folder.exists():
            return []
        return sorted(path.name for path in self.folder.glob("step-*") if not path.name.endswith(".part"))


def write_aside(final: Path, write: Callable[[Path], object]) -> None:
    """Fill a folder beside `final`, flush it to disk, and rename it to `final`, replacing what was there.

    Raises:
        StoreError: If the disk is full.
    """
    part = final.with_name(final.name + ".part")
    if part.exists():
        shutil.rmtree(part)
    part.mkdir(parents=True)
    try:
        write(part)
    except Exception as error:  # torch tells of a full disk in errors of its own
        shutil.rmtree(part, ignore_errors=True)
        if _has_no_room(final.parent):
            raise StoreError(f"cannot write {str(final)!r}: the disk is full", fix="free some space") from error
        raise
    for path in sorted(part.rglob("*")):
        _flush(path)
    _flush(part)
    if final.exists():
        shutil.rmtree(final)
    os.rename(part, final)
    _flush(final.parent)


def _has_no_room(folder: Path) -> bool:
    """Tell whether a disk takes no further file, by trying."""
    probe = folder / ".room"
    try:
        probe.write_bytes(bytes(ROOM))
        probe.unlink()
    except OSError:
        probe.unlink(missing_ok=True)
        return True
    return False


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_plain(value: object, where: str) -> None:
    if isinstance(value, Mapping):
        for key, item in value.items():
            _check_plain(item, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check_plain(item, f"{where}[{index}]")
    elif not isinstance(value, Tensor | str | int | float | None):
        raise PolicyError(
            f"checkpoint entry {where.lstrip('.')} is a {type(value).__name__}, expected a tensor or plain data",
            fix="return plain data from the component's state_dict",
        )


def random_state() -> dict[str, Any]:
    """Return the state of torch's and Python's global generators."""
    version, numbers, gauss = random.getstate()
    return {"torch": torch.get_rng_state(), "python": [version, list(numbers), gauss]}


def set_random_state(state: dict[str, Any]) -> None:
    """Restore what `random_state` gave."""
    torch.set_rng_state(state["torch"])
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
