"""Weights on their way to another process: safetensors files in a folder that both see.

The folder's name tells whose it is, by machine and process, so that those of a process that was killed can be removed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from collegium_vllm.errors import engine_error

PREFIX = "collegium-weights"
SHARD = 1 << 30
"""Bytes of weights that are held in main memory at once, before they are written to a file."""


@contextlib.contextmanager
def files_of(weights: Iterator[tuple[str, Tensor]], folder: Path | None) -> Iterator[list[str]]:
    """Write weights to files, give their paths, and delete them on the way out.

    Args:
        weights: Names and tensors.
        folder: Where a folder for the files is made; default: the temporary folder.

    Raises:
        EngineError: If they cannot be written.
    """
    place = _make_folder(folder)
    try:
        yield _write(weights, place)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def remove_orphans(folder: Path | None) -> None:
    """Remove what processes of this machine that have died left behind.

    Args:
        folder: As for `files_of`.
    """
    mine = f"{PREFIX}-{socket.gethostname()}-"
    for left in Path(folder or tempfile.gettempdir()).glob(f"{PREFIX}-*"):
        owner = left.name.removeprefix(mine).partition("-")[0] if left.name.startswith(mine) else ""
        if owner.isdecimal() and not _is_alive(int(owner)):
            shutil.rmtree(left, ignore_errors=True)  # another user's stays


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        return True
    return True


def _make_folder(folder: Path | None) -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix=f"{PREFIX}-{socket.gethostname()}-{os.getpid()}-", dir=folder))
    except OSError as error:
        raise engine_error(
            f"no folder for weights can be made in {str(folder or tempfile.gettempdir())!r}: {error}",
            fix="set transfer_dir to a folder that can be written to, and that the server sees",
        ) from error


def _write(weights: Iterator[tuple[str, Tensor]], place: Path) -> list[str]:
    files: list[str] = []
    shard: dict[str, Tensor] = {}
    for name, weight in weights:
        shard[name] = weight.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        if sum(each.nbytes for each in shard.values()) >= SHARD:
            files.append(_save(shard, place / f"{len(files)}.safetensors"))
            shard = {}
    return [*files, _save(shard, place / f"{len(files)}.safetensors")] if shard else files


def _save(shard: dict[str, Tensor], file: Path) -> str:
    try:
        save_file(shard, file)
    except Exception as error:  # safetensors has an error type of its own for a full disk
        raise engine_error(
            f"weights cannot be written to {str(file.parent)!r}: {error}",
            fix="free space there, or set transfer_dir to a folder with room for the model",
        ) from error
    return str(file)
