"""Files under an fsspec URL, such as ``s3://bucket/prefix``, where each file system's own errors become clear ones."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from collegium.errors import StoreError

FIX = "check the network and the credentials in the environment, then resume: finished work is kept in the local cache"
MISSING = "make the bucket or folder, then resume (finished work is kept in the local cache), or --store DIR"
BUCKETS = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "oci", "r2", "http", "https"})
"""Protocols without folders: to ask for one may make a bucket."""
SECRETIVE = ("@", "#", ";", "?", "%40", "%23", "%3b", "%3f", "::")
"""What a store's URL must not have in it."""


def is_url(location: str) -> bool:
    """Say whether a store's location is an fsspec URL rather than a folder."""
    return "://" in location


class Location:
    """Files under one fsspec URL.

    Raises:
        StoreError: If the URL may have credentials in it, or the package for its protocol is missing.
    """

    def __init__(self, url: str) -> None:
        _refuse_credentials(url)
        self.url = url.rstrip("/") if not url.endswith("://") else url
        protocol = url.partition("://")[0]
        try:
            importlib.import_module("fsspec")  # by name: it is optional
        except ImportError:
            raise StoreError(
                f"the store {url!r} needs fsspec, which is not installed", fix="pip install fsspec"
            ) from None
        core: Any = importlib.import_module("fsspec.core")
        options = {"auto_mkdir": True} if protocol in ("file", "local") else {}
        try:
            self.files, self.root = core.url_to_fs(self.url, **options)
        except ImportError as error:
            raise StoreError(f"the store {url!r} needs a package that is not installed", fix=str(error)) from error
        except Exception as error:  # each file system has errors of its own
            raise StoreError(
                f"the store {url!r} cannot be opened: {type(error).__name__}: {error}",
                fix="--store DIR, or a URL of a protocol that fsspec knows",
            ) from error
        self._has_folders = protocol not in BUCKETS
        if options:  # a relative path must mean the same folder when the run is resumed from elsewhere
            self.url = f"file://{self.root}"
            _refuse_credentials(self.url)  # the resume would

    @contextmanager
    def _reaching(self, what: str) -> Iterator[None]:
        """Turn whatever a file system raises into one clear error; a missing file stays one."""
        try:
            yield
        except (FileNotFoundError, StoreError):
            raise
        except Exception as error:  # each file system has errors of its own
            problem = f"the store {self.url!r} cannot be reached: {what}: {type(error).__name__}: {error}"
            raise StoreError(problem, fix=FIX) from error

    def read(self, name: str) -> bytes | None:
        """Return a small file's content, or None where there is none."""
        try:
            with self._reaching(f"reading {name}"):
                return bytes(self.files.cat_file(f"{self.root}/{name}"))
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Write a small file."""
        with self._writing(name) as path:
            self.files.pipe_file(path, content)

    def upload(self, source: Path, name: str) -> None:
        """Upload a file, and see that it arrived whole."""
        with self._writing(name) as path:
            self.files.put_file(str(source), path)
            size = self.files.info(path)["size"]
            if size != source.stat().st_size:
                raise OSError(f"{size} of {source.stat().st_size} bytes arrived")

    def download(self, name: str, target: Path) -> None:
        """Download a file.

        Raises:
            FileNotFoundError: If it is not there.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._reaching(f"downloading {name}"):
            self.files.get_file(f"{self.root}/{name}", str(target))

    def remove(self, name: str) -> None:
        """Delete a file that is there."""
        with self._reaching(f"deleting {name}"):
            self.files.rm_file(f"{self.root}/{name}")

    @contextmanager
    def _writing(self, name: str) -> Iterator[str]:
        path = f"{self.root}/{name}"
        try:
            with self._reaching(f"writing {name}"):
                if self._has_folders:
                    self.files.makedirs(path.rpartition("/")[0], exist_ok=True)
                yield path
        except FileNotFoundError as error:  # the bucket, or what the location stands on
            raise StoreError(f"the store {self.url!r} is not there: {error}", fix=MISSING) from error


def _refuse_credentials(url: str) -> None:
    """Refuse a URL that may hold a secret: it is written into run directories. It is not shown here either.

    Raises:
        StoreError: If it has what introduces a user, a password, a query, a fragment or parameters, or is a chain.
    """
    found = sorted({sign for sign in SECRETIVE if sign in url.lower()})
    if found:
        raise StoreError(
            f"the store's URL has {', '.join(map(repr, found))} in it, where credentials or options could stand, and "
            "would be written into the run directory; expected PROTOCOL://PLACE/PREFIX",
            fix="give both through the environment, or the provider's or fsspec's own configuration",
        )
