"""The file system that a submission sees: libraries read-only, four devices, an empty scratch folder, nothing else."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from collegium_verifier_code.inside import kernel

SCRATCH = "/scratch"
DEVICES = ("null", "zero", "random", "urandom")
SYSTEM_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")
# Mounted over in the sandbox's own view: always a folder, and nothing below it is needed once the user ids are mapped.
STAGING = "/proc"


def enter() -> None:
    """Build the file system and make it the root."""
    kernel.mount("none", "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("tmpfs", STAGING, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "size=256k,mode=755")
    for folder in library_folders():
        _bind_library(folder)
    _bind_devices()
    os.mkdir(STAGING + SCRATCH)
    os.symlink(SCRATCH.lstrip("/"), f"{STAGING}/tmp")
    kernel.pivot_root(STAGING)
    kernel.make_read_only("/", recursive=False)


class Scratch:
    """The submissions' scratch folder: a file system in memory that each one finds new.

    Args:
        megabytes: Size of all files in it together.
    """

    def __init__(self, megabytes: int) -> None:
        self._options = f"size={megabytes}m,nr_inodes=4096,mode=1777"
        self._mount()

    def renew(self) -> None:
        """Replace it, if anything was done to it: each change to a folder, even one undone, moves its change time."""
        if _trace(SCRATCH) != self._new:
            kernel.unmount(SCRATCH)
            self._mount()

    def _mount(self) -> None:
        kernel.mount("tmpfs", SCRATCH, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC, self._options)
        self._new = _trace(SCRATCH)


def _trace(folder: str) -> tuple[int, ...]:
    state = os.stat(folder)
    return state.st_dev, state.st_mode, state.st_uid, state.st_nlink, state.st_size, state.st_ctime_ns


def library_folders() -> list[str]:
    """List what the interpreter needs: the system's libraries and its own, none of them twice."""
    own = [f"{prefix}/{name}" for prefix in {sys.base_prefix, sys.base_exec_prefix} for name in ("lib", "lib64")]
    found: list[str] = []
    for folder in (*SYSTEM_LIBRARIES, *own):
        if os.path.isdir(folder) and not any(folder == seen or folder.startswith(f"{seen}/") for seen in found):
            found.append(folder)
    return found


def _bind_library(folder: str) -> None:
    """Show a library folder, read-only, with installed packages hidden."""
    target = STAGING + folder
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if os.path.islink(folder):
        os.symlink(os.readlink(folder), target)
        return
    os.mkdir(target)
    kernel.mount(folder, target, None, kernel.MS_BIND | kernel.MS_REC)
    kernel.make_read_only(target, recursive=True)
    for packages in _package_folders(folder):
        kernel.mount("tmpfs", STAGING + packages, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "size=4k,mode=755")
        kernel.make_read_only(STAGING + packages, recursive=False)


def _package_folders(folder: str) -> list[str]:
    """Installed packages are the user's, not the interpreter's: a submission must run alike on every machine."""
    found = [path for name in ("site-packages", "dist-packages") for path in Path(folder).glob(f"python3*/{name}")]
    return [str(path) for path in found if path.is_dir() and not path.is_symlink()]


def _bind_devices() -> None:
    os.mkdir(f"{STAGING}/dev")
    for name in DEVICES:
        target = f"{STAGING}/dev/{name}"
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY))
        kernel.mount(f"/dev/{name}", target, None, kernel.MS_BIND)
