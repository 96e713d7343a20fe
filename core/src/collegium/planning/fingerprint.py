"""Fingerprints: what an artifact depends on, as a digest."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import json
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from collegium.errors import DataError, Location, StoreError

NOT_NUMERIC = ("cards", "cli", "reporting", "planning", "scaffold")
"""Parts of the core that cannot change an artifact's numbers."""
NOT_CODE = ("card.yaml", "measured.json", "conformance.json")
"""What is said of a package, beside its code: the code's digest does not depend on it."""


def digest(value: Any) -> str:
    """Return the SHA-256 of a value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


@functools.lru_cache(maxsize=1024)
def _file_digest(path: str, _size: int, _mtime_ns: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_digest(path: Path, where: Location | None = None) -> str:
    """Return a file's SHA-256.

    Raises:
        DataError: If it is missing or cannot be read.
    """
    try:
        stat = path.stat()
        return _file_digest(str(path.resolve()), stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise DataError(
            f"cannot read {str(path.absolute())!r}: {error.strerror or error}",
            fix="check the path; a relative one starts from the current directory",
            where=where,
        ) from error


def folder_digest(folder: Path) -> str:
    """Return the digest of a folder's files: names and contents.

    Raises:
        StoreError: If the folder is missing or empty.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
    if not files:
        raise StoreError(f"{str(folder)!r} is no folder with files in it")
    return digest([[path.relative_to(folder).as_posix(), file_digest(path)] for path in files])


def content_digest(path: Path) -> str:
    """Return the digest of a file, or of a folder's files."""
    return folder_digest(path) if path.is_dir() else file_digest(path)


@functools.lru_cache(maxsize=256)
def code_digest(module: str) -> str:
    """Return the digest of the files, code and data, of the package that a module belongs to.

    A version number alone would let an edited editable install reuse artifacts that the old code made.
    """
    top = module.partition(":")[0].partition(".")[0]
    spec = importlib.util.find_spec(top)
    roots = [Path(root) for root in (spec.submodule_search_locations or [])] if spec else []
    if not roots and spec and spec.origin:
        return file_digest(Path(spec.origin))
    return digest(sorted(_code_files(roots, skip=NOT_NUMERIC if top == "collegium" else ())))


@functools.lru_cache(maxsize=256)
def requirement_versions(distribution: str) -> tuple[tuple[str, str], ...]:
    """Return (name, version) of what a distribution directly requires, extras included, as far as it is installed."""
    found = {}
    for text in metadata.requires(distribution) or ():
        name = Requirement(text).name
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return tuple(sorted(found.items()))


def _code_files(roots: Iterable[Path], skip: tuple[str, ...]) -> list[list[str]]:
    found = []
    for root in roots:
        for path in root.rglob("*"):
            relative = path.relative_to(root)
            left_out = relative.parts[0] in (*skip, *NOT_CODE) or "__pycache__" in relative.parts
            if path.is_file() and not left_out:
                found.append([relative.as_posix(), file_digest(path)])
    return found
