"""Fingerprints: what an artifact depends on, as a digest."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import json
import os
import urllib.parse
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from collegium.errors import DataError, Location, StoreError

CORE_PACKAGE = "collegium"
UNCHECKED_HASH = 0b01
"""Flags of bytecode that is never compared with its source (PEP 552)."""
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
def distribution_digest(distribution: str, modules: tuple[str, ...]) -> str:
    """Return the digest of all code of a distribution: what its component modules live in, and what it installed.

    Args:
        distribution: Its name.
        modules: Its entry-point modules and the modules of its components.
    """
    tops = {module.partition(":")[0].partition(".")[0] for module in modules}
    if CORE_PACKAGE not in tops:
        tops |= _installed_modules(distribution)
    return digest({top: code_digest(top) for top in sorted(tops)})


def _installed_modules(distribution: str) -> set[str]:
    """Return the top-level modules that a distribution brings: from its list of files, or its source folder."""
    try:
        found = metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return set()
    names = {Path(str(file)).parts[0] for file in found.files or () if Path(str(file)).suffix in (".py", ".so")}
    names = {name.partition(".")[0] for name in names if not name.endswith((".dist-info", ".data")) and name != ".."}
    folder = _editable_folder(found)
    if folder is not None:
        source = folder / "src" if (folder / "src").is_dir() else folder
        names |= {path.stem for path in source.glob("*.py")} | {
            path.parent.name for path in source.glob("*/__init__.py")
        }
        names -= {"tests", "test", "conftest", "setup", "measure"}
    return {name for name in names if name.isidentifier() and importlib.util.find_spec(name) is not None}


def _editable_folder(found: metadata.Distribution) -> Path | None:
    """Return the source folder of an editable install."""
    try:
        origin = json.loads(found.read_text("direct_url.json") or "{}")
    except ValueError:
        return None
    url = str(origin.get("url", ""))
    if not origin.get("dir_info", {}).get("editable") or not url.startswith("file://"):
        return None
    return Path(urllib.parse.unquote(urllib.parse.urlparse(url).path))


@functools.lru_cache(maxsize=256)
def requirement_versions(distribution: str) -> tuple[tuple[str, str], ...]:
    """Return (name, version) of what a distribution directly requires, extras included, as far as it is installed.

    Of the core's own extras only `train` counts: the others are named by the stages that use them (`libraries`).
    """
    asked = [Requirement(text) for text in metadata.requires(distribution) or ()]
    if distribution == "collegium":
        asked = [one for one in asked if one.marker is None or one.marker.evaluate({"extra": "train"})]
    return library_versions(requirement.name for requirement in asked)


def library_versions(names: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Return (name, version) of the libraries that are installed."""
    found = {}
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return tuple(sorted(found.items()))


def _code_files(roots: Iterable[Path], skip: tuple[str, ...]) -> list[list[str]]:
    """Return (name, digest) of each file; a link to a folder is followed, once."""
    found = []
    for root in roots:
        seen: set[str] = set()
        for folder, folders, files in os.walk(root, followlinks=True):
            real = os.path.realpath(folder)
            if real in seen:
                folders.clear()
                continue
            seen.add(real)
            for name in files:
                path = Path(folder, name)
                relative = path.relative_to(root)
                if relative.parts[0] not in (*skip, *NOT_CODE) and _counts(path):
                    found.append([relative.as_posix(), file_digest(path)])
    return found


def _counts(path: Path) -> bool:
    """Say whether a file is code or data; bytecode is only if the interpreter never compares it with its source."""
    if path.suffix != ".pyc" or path.parent.name != "__pycache__":
        return path.is_file()
    try:
        with open(path, "rb") as file:
            flags = int.from_bytes(file.read(8)[4:], "little")
    except OSError:
        return False
    return flags & 0b11 == UNCHECKED_HASH
