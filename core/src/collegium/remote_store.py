"""A store at any fsspec location, such as ``s3://bucket/prefix``, behind a local cache that is a store of its own.

Layout at the location: ``objects/<fp>/manifest.json`` and, in the folder that it names, the object's files;
``scores/<fp>.json``. The manifest is written last and the folder is named after the contents, so an object is whole or
absent whatever is killed, and two writers of different contents never mix. What could not be uploaded is noted in the
cache and uploaded before anything else is asked of the store, so an outage costs nothing that was made.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from collegium.errors import StoreError
from collegium.job import StageOutcome
from collegium.store import MANIFEST, Store, file_digest, write_json
from collegium.store_location import Location

DEFAULT_CACHE = ".collegium/cache"
MARKER = "collegium-store.json"
LAYOUT = {"collegium_store": 1}
FOLDER = re.compile(r"files-[0-9a-f]{16}")
"""What `_upload` calls the folder of an object's files."""


class RemoteStore(Store):
    """Artifacts and scores at a URL; the cache has what was made or taken here.

    Args:
        url: Where the store is.
        cache: Folder of the cache. Default: under COLLEGIUM_STORE_CACHE, else ``.collegium/cache``.
    """

    def __init__(self, url: str, cache: Path | None = None) -> None:
        self.remote = Location(url)
        parent = Path(os.environ.get("COLLEGIUM_STORE_CACHE") or DEFAULT_CACHE)
        self.root = cache or parent / hashlib.sha256(self.remote.url.encode()).hexdigest()[:16]

    @property
    def location(self) -> str:
        """The URL."""
        return self.remote.url

    def require_writable(self) -> None:
        """Check that the location can be written to, before anything is made, and mark it with the layout's version.

        Raises:
            StoreError: If it cannot, or has another layout.
        """
        found = self.remote.read(MARKER)
        if found is not None and _json(found) != LAYOUT:
            raise StoreError(
                f"the store {self.location!r} has another layout: {MARKER} is not {json.dumps(LAYOUT)}",
                fix="upgrade collegium, or --store another URL",
            )
        self.remote.write(MARKER, json.dumps(LAYOUT).encode())

    def _manifest(self, fingerprint: str) -> dict[str, Any] | None:
        return super()._manifest(fingerprint) or self._remote_manifest(fingerprint)

    def _remote_manifest(self, fingerprint: str) -> dict[str, Any] | None:
        """Return the manifest at the location; one that is torn, or not what `_upload` writes, counts as absent."""
        content = self.remote.read(f"objects/{fingerprint}/{MANIFEST}")
        found = _json(content)
        whole = isinstance(found, dict) and all(isinstance(found.get(key), dict) for key in ("files", "outcome"))
        return found if whole and FOLDER.fullmatch(str(found.get("folder"))) else None

    def holds(self, fingerprint: str, folder: Path) -> bool:
        """Say whether a folder has every file of an artifact, unchanged; if not, fetch the artifact into the cache.

        Fetched here, so that a store that cannot be reached stops the run instead of passing for a damaged artifact.
        """
        self._flush()
        if super().holds(fingerprint, folder):
            return True
        with contextlib.suppress(Damaged):  # `take` says so
            self._fetch(fingerprint, set_aside=False)
        return False

    def put(self, fingerprint: str, files: Mapping[str, Path], outcome: Mapping[str, Any]) -> None:
        """Add a finished artifact: to the cache, then to the location.

        Raises:
            StoreError: If the location cannot be reached; the artifact is in the cache and is uploaded later.
        """
        self._make_folders()
        if super()._manifest(fingerprint) is None:
            self._put_local(fingerprint, files, outcome)
        self._note("objects", fingerprint)
        self._flush()

    def _put_local(self, fingerprint: str, files: Mapping[str, Path], outcome: Mapping[str, Any]) -> None:
        Store(self.root).put(fingerprint, files, outcome)

    def take(self, fingerprint: str, target: Path) -> dict[str, Any]:
        """Link an artifact's files into a folder, after checking them; fetch it first where the cache lacks it.

        Raises:
            StoreError: If it is damaged at the location too, or the location cannot be reached.
        """
        self._flush()
        if super()._manifest(fingerprint) is not None:
            try:
                return Store(self.root).take(fingerprint, target)
            except StoreError:  # damaged in the cache, and set aside there: the location may have it whole
                if self._remote_manifest(fingerprint) is None:
                    raise
        self._fetch(fingerprint)
        return Store(self.root).take(fingerprint, target)

    def _fetch(self, fingerprint: str, *, set_aside: bool = True) -> None:
        """Download an object into the cache, unless it is there: another run may have fetched it meanwhile.

        Raises:
            Damaged: If a file is missing or differs from its digest; its manifest is then set aside, if asked for.
        """
        manifest = None if super()._manifest(fingerprint) is not None else self._remote_manifest(fingerprint)
        if manifest is None:
            return
        self._make_folders()
        with self._locked(fingerprint):
            if super()._manifest(fingerprint) is None:
                self._fetch_locked(fingerprint, manifest, set_aside=set_aside)

    def _fetch_locked(self, fingerprint: str, manifest: Mapping[str, Any], *, set_aside: bool) -> None:
        try:
            with tempfile.TemporaryDirectory(
                dir=self.root / "objects", prefix=".new-", ignore_cleanup_errors=True
            ) as temporary:
                made = Path(temporary) / fingerprint
                for name, wanted in manifest["files"].items():
                    if not self._download(fingerprint, manifest["folder"], name, wanted, made / _inside(name)):
                        raise self._damaged(fingerprint, manifest, name, set_aside=set_aside)
                write_json(made / MANIFEST, {key: manifest[key] for key in ("files", "outcome")})
                if self._object(fingerprint).exists():  # without a whole manifest, or it would not be fetched
                    self._set_aside(fingerprint)
                os.replace(made, self._object(fingerprint))
        except StoreError:
            raise
        except OSError as error:
            raise StoreError(
                f"cannot write to the cache at {str(self.root)!r}: {error}", fix="free some space"
            ) from error

    def _download(self, fingerprint: str, folder: str, name: str, wanted: str, target: Path) -> bool:
        """Download a file and say whether it is what the manifest says; twice, for the way may have damaged it."""
        for _ in range(2):
            with contextlib.suppress(FileNotFoundError):
                self.remote.download(f"objects/{fingerprint}/{folder}/{name}", target)
                if file_digest(target) == wanted:
                    return True
        return False

    def _damaged(self, fingerprint: str, manifest: Mapping[str, Any], name: str, *, set_aside: bool) -> Damaged:
        """Return the error of a damaged object; set aside, it counts as absent from then on, and its files stay."""
        aside = f"damaged/{fingerprint}-{manifest['folder']}.json"
        if set_aside and self._remote_manifest(fingerprint) == manifest:  # else another run did, or made it anew
            self.remote.write(aside, json.dumps(manifest).encode())
            self.remote.remove(f"objects/{fingerprint}/{MANIFEST}")
        return Damaged(
            f"artifact {fingerprint[:12]} in the store {self.location!r} is damaged at {name!r}; "
            f"its manifest was moved to {aside!r}",
            fix="run again: the stage will be made anew",
        )

    def _evaluation(self, fingerprint: str, part: str) -> dict[str, float] | None:
        found = super()._evaluation(fingerprint, part)
        return found if found is not None else _figures(_json(self.remote.read(f"scores/{fingerprint}.json")), part)

    def put_scores(self, fingerprint: str, outcome: StageOutcome) -> None:
        """Remember an evaluation, in the cache and at the location."""
        self._make_folders()
        super().put_scores(fingerprint, outcome)
        self._note("scores", fingerprint)
        self._flush()

    def _make_folders(self) -> None:
        Store(self.root)
        (self.root / "pending").mkdir(exist_ok=True)

    def _note(self, kind: str, fingerprint: str) -> None:
        """Note that something is to be uploaded, until it is."""
        (self.root / "pending" / f"{kind}-{fingerprint}").touch()

    def _flush(self) -> None:
        """Upload what waits in the cache, whichever run made it."""
        pending = self.root / "pending"
        uploads: dict[str, Callable[[str], None]] = {"objects": self._upload, "scores": self._upload_scores}
        for note in sorted(pending.iterdir()) if pending.is_dir() else ():
            kind, _, fingerprint = note.name.partition("-")
            if kind in uploads:  # else no note of ours, such as .DS_Store
                uploads[kind](fingerprint)
                note.unlink(missing_ok=True)

    def _upload(self, fingerprint: str) -> None:
        """Upload an object from the cache, its manifest last.

        Nothing where the location has it already, or where the cache's copy was damaged meanwhile (`take` says so).
        """
        manifest = super()._manifest(fingerprint)
        if manifest is None or self._remote_manifest(fingerprint) is not None:
            return
        if not super().holds(fingerprint, self._object(fingerprint)):
            return
        content = json.dumps(manifest["files"], sort_keys=True).encode()
        folder = f"files-{hashlib.sha256(content).hexdigest()[:16]}"
        for name in manifest["files"]:
            self.remote.upload(self._object(fingerprint) / name, f"objects/{fingerprint}/{folder}/{name}")
        final = json.dumps({**manifest, "folder": folder}, indent=1).encode()
        self.remote.write(f"objects/{fingerprint}/{MANIFEST}", final)

    def _upload_scores(self, fingerprint: str) -> None:
        path = self.root / "scores" / f"{fingerprint}.json"
        if path.is_file():
            self.remote.write(f"scores/{fingerprint}.json", path.read_bytes())


class Damaged(StoreError):
    """An object at the location is not what its manifest says."""


def _json(content: bytes | None) -> Any:
    try:
        return None if content is None else json.loads(content)
    except (ValueError, RecursionError):  # torn, or something else
        return None


def _figures(found: Any, part: str) -> dict[str, float] | None:
    try:
        return {str(name): float(value) for name, value in found[part].items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _inside(name: str) -> Path:
    """Return a manifest's file name as a path within the object.

    Raises:
        StoreError: If it names no file within it.
    """
    path = Path(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in name:
        raise StoreError(f"a manifest in the store names the file {name!r}, which lies outside of its object")
    return path
