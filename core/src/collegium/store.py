"""The content-addressed store: finished artifacts by fingerprint, and scores by theirs.

Layout: ``objects/<fp>/`` holds the files of a finished stage and ``manifest.json`` (their digests and the outcome);
``scores/<fp>.json`` one evaluation. Objects appear by a rename, so a killed writer leaves nothing half made. Files are
hard-linked between store and run directory where the file system allows it, else copied.

Runs that share a store need no lock to read: a whole object is never replaced. What moves a damaged one away, or puts
one in its place, first takes the object's lock (``locks/<fp>``) and looks again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from collegium.errors import StoreError
from collegium.job import StageOutcome

MANIFEST = "manifest.json"


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically: to a temporary file beside, flushed, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(value, file, indent=1, sort_keys=False, allow_nan=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        StoreError: If the file is missing or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StoreError(f"{str(path)!r} is missing") from None
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{str(path)!r} cannot be read: {error}") from error


def link_tree(source: Path, target: Path) -> None:
    """Hard-link (or copy) a folder's files into a new folder."""
    shutil.copytree(source, target, copy_function=_link_or_copy, dirs_exist_ok=True)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        StoreError: If the file is missing, not JSON, or no object.
    """
    found = read_json(path)
    if not isinstance(found, dict) or not found:
        raise StoreError(f"{str(path)!r} is not what a run writes: expected a JSON object", fix="run the recipe again")
    return found


class Store:
    """Artifacts and scores by fingerprint."""

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            (root / "objects").mkdir(parents=True, exist_ok=True)
            (root / "scores").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"cannot make the store at {str(root)!r}: {error.strerror}", fix="--store DIR or COLLEGIUM_STORE"
            ) from error

    @property
    def location(self) -> str:
        """Where the store is, as `--store` takes it."""
        return str(self.root.resolve())

    def require_writable(self) -> None:
        """Check that artifacts can be written, before any is made."""

    def has(self, fingerprint: str) -> bool:
        """Say whether a finished artifact is there (its files are checked when it is taken)."""
        return self._manifest(fingerprint) is not None

    def _manifest(self, fingerprint: str) -> dict[str, Any] | None:
        """Return an object's manifest; one that cannot be read, or is none, counts as absent."""
        try:
            found = read_json(self._object(fingerprint) / MANIFEST)
        except StoreError:
            return None
        whole = isinstance(found, dict) and isinstance(found.get("files"), dict)
        return found if whole and isinstance(found.get("outcome"), dict) else None

    def holds(self, fingerprint: str, folder: Path) -> bool:
        """Say whether a folder has every file of an artifact, unchanged."""
        manifest = self._manifest(fingerprint)
        if manifest is None:
            return False
        for name, wanted in manifest["files"].items():
            path = folder / name
            if not path.is_file() or file_digest(path) != wanted:
                return False
        return True

    @contextmanager
    def _locked(self, fingerprint: str) -> Iterator[None]:
        """Keep other threads and processes from moving or replacing an object.

        Raises:
            StoreError: If its file system has no locks, or cannot be written to.
        """
        path = self.root / "locks" / fingerprint
        try:
            path.parent.mkdir(exist_ok=True)
            file = open(path, "ab")  # noqa: SIM115  # closed below; its errors are not those of the block
        except OSError as error:
            raise self._cannot_lock(fingerprint, error) from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX)  # ends with the file, also when the process is killed
            except OSError as error:
                raise self._cannot_lock(fingerprint, error) from error
            yield

    def _cannot_lock(self, fingerprint: str, error: OSError) -> StoreError:
        return StoreError(
            f"cannot lock artifact {fingerprint[:12]} in {str(self.root)!r}: {error.strerror}",
            fix="--store DIR or COLLEGIUM_STORE (COLLEGIUM_STORE_CACHE for a store at a URL) on a disk of this machine",
        )

    def _set_aside(self, fingerprint: str) -> Path:
        aside = self.root / f"damaged-{fingerprint[:16]}"
        shutil.rmtree(aside, ignore_errors=True)
        os.replace(self._object(fingerprint), aside)
        return aside

    def _clear(self, fingerprint: str) -> None:
        """Set aside what lies in an object's place and is none."""
        if self._object(fingerprint).exists():
            with self._locked(fingerprint):
                if self._object(fingerprint).exists() and self._manifest(fingerprint) is None:
                    self._set_aside(fingerprint)

    def _object(self, fingerprint: str) -> Path:
        return self.root / "objects" / fingerprint

    def put(self, fingerprint: str, files: Mapping[str, Path], outcome: Mapping[str, Any]) -> None:
        """Add a finished artifact.

        Args:
            fingerprint: Its key.
            files: Name within the object to a file or folder.
            outcome: What to remember of the stage; JSON-serialisable.
        """
        if self.has(fingerprint):
            return
        try:
            self._clear(fingerprint)
            temporary = Path(tempfile.mkdtemp(dir=self.root / "objects", prefix=".new-"))
        except OSError as error:
            raise StoreError(
                f"cannot write to the store at {str(self.root)!r}: {error.strerror}",
                fix="--store DIR or COLLEGIUM_STORE",
            ) from error
        try:
            for name, path in files.items():
                if path.is_dir():
                    link_tree(path, temporary / name)
                elif path.is_file():
                    _link_or_copy(str(path), str(temporary / name))
            digests = dict(_digests(temporary))
            write_json(temporary / MANIFEST, {"files": digests, "outcome": dict(outcome)})
            os.replace(temporary, self._object(fingerprint))
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            if not self.has(fingerprint):  # another run may have put the same artifact meanwhile
                raise StoreError(f"cannot store artifact {fingerprint[:12]}: {error}", fix="free some space") from error

    def outcome(self, fingerprint: str) -> dict[str, Any]:
        """Return what was remembered of a stage."""
        outcome: dict[str, Any] = self._read(fingerprint)["outcome"]
        return outcome

    def _read(self, fingerprint: str) -> dict[str, Any]:
        manifest = self._manifest(fingerprint)
        if manifest is None:
            raise StoreError(f"artifact {fingerprint[:12]} is not in the store", fix="run again: it will be made anew")
        return manifest

    def _wrong(self, fingerprint: str, manifest: Mapping[str, Any]) -> str | None:
        """Return the first file that is missing, differs from its digest, or is too much."""
        files = manifest["files"]
        try:
            found = dict(_digests(self._object(fingerprint)))
        except FileNotFoundError as error:  # another run is moving it away
            return str(error.filename)
        found.pop(MANIFEST, None)
        return min((name for name in found.keys() | files if found.get(name) != files.get(name)), default=None)

    def _damage(self, fingerprint: str, wrong: str, aside: Path) -> StoreError:
        return StoreError(
            f"artifact {fingerprint[:12]} in the store is damaged at {wrong!r}; it was moved to {str(aside)!r}",
            fix="run again: the stage will be made anew",
        )

    def take(self, fingerprint: str, target: Path) -> dict[str, Any]:
        """Link an artifact's files into a folder, after checking them, and return its outcome.

        Raises:
            StoreError: If a file is missing or differs from its digest; the object is then set aside.
        """
        manifest = self._read(fingerprint)
        if self._wrong(fingerprint, manifest) is not None:
            with self._locked(fingerprint):
                manifest = self._read(fingerprint)  # another run may have put it right meanwhile
                wrong = self._wrong(fingerprint, manifest)
                if wrong is not None:
                    raise self._damage(fingerprint, wrong, self._set_aside(fingerprint))
        folder = self._object(fingerprint)
        target.mkdir(parents=True, exist_ok=True)
        for name in sorted({path.split("/")[0] for path in manifest["files"]}):
            source = folder / name
            if source.is_dir():
                link_tree(source, target / name)
            else:
                (target / name).unlink(missing_ok=True)
                _link_or_copy(str(source), str(target / name))
        outcome: dict[str, Any] = manifest["outcome"]
        return outcome

    def model_path(self, fingerprint: str) -> Path:
        """Return where a stored artifact's model lies."""
        return self._object(fingerprint) / "model"

    def scores(self, fingerprint: str) -> dict[str, float] | None:
        """Return a stored evaluation, domain to score, or None."""
        return self._evaluation(fingerprint, "scores")

    def score_counts(self, fingerprint: str) -> dict[str, float]:
        """Return what a stored evaluation counted: tasks, abstentions, errors, truncated completions."""
        return self._evaluation(fingerprint, "counts") or {}

    def _evaluation(self, fingerprint: str, part: str) -> dict[str, float] | None:
        """Read a part of a stored evaluation; one that cannot be read counts as absent."""
        try:
            found = read_json(self.root / "scores" / f"{fingerprint}.json")
            return {str(name): float(value) for name, value in found[part].items()}
        except (StoreError, KeyError, TypeError, ValueError, AttributeError):
            return None

    def put_scores(self, fingerprint: str, outcome: StageOutcome) -> None:
        """Remember an evaluation, with the counts among the outcome's metrics."""
        counts = {name: value for name, value in outcome.metrics.items() if name.startswith("evaluation/")}
        content = {"stage": outcome.stage, "scores": outcome.scores, "counts": counts}
        write_json(self.root / "scores" / f"{fingerprint}.json", content)


def file_digest(path: Path) -> str:
    """Return a file's SHA-256."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digests(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), file_digest(path)
