"""Whose a distribution is, from its metadata."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata


@dataclass(frozen=True, slots=True)
class Ownership:
    """Owner, licence and summary of an installed distribution; empty where its metadata do not say."""

    owner: str
    licence: str
    summary: str


def ownership_of(distribution: str) -> Ownership:
    """Return what an installed distribution's metadata say.

    Raises:
        PackageNotFoundError: If it is not installed.
    """
    found = metadata.metadata(distribution)
    owner = _first(found, "Author", "Author-email", "Maintainer", "Maintainer-email")
    return Ownership(owner, _first(found, "License-Expression", "License"), _first(found, "Summary"))


def _first(found: metadata.PackageMetadata, *fields: str) -> str:
    values = (str(found[field]) for field in fields if field in found)
    return next((value for value in values if value), "")
