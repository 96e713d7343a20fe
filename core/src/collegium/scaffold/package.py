"""Render a new package's files from the templates, and write them all or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

from collegium.errors import ConfigError, StoreError
from collegium.plugins.discovery import CORE
from collegium.scaffold.kinds import SPECS, KindSpec, PackageKind
from collegium.scaffold.names import NAME, Names, check_name

TEMPLATES = files("collegium.scaffold") / "templates"
SUFFIX = ".tmpl"
"""Ending of a template's file name; what stands before it ends the name of the file that is written."""
LICENCES = ("Apache-2.0", "MIT", "BSD-3-Clause")
DEFAULT_VERIFIER = "collegium-verifier-math/math"


@dataclass(frozen=True, slots=True)
class PackageRequest:
    """What to write.

    Args:
        kind: Kind of package.
        name: The distribution's name.
        licence: SPDX identifier, one of `LICENCES`.
        owner: Who holds the copyright; empty: the package's authors.
        verifier: ``distribution/name`` of the verifier that judges a teacher package's tasks.
    """

    kind: PackageKind
    name: str
    licence: str = "Apache-2.0"
    owner: str = ""
    verifier: str = DEFAULT_VERIFIER


def write_package(request: PackageRequest, folder: Path) -> list[Path]:
    """Write a new package into `folder`, which must not exist, and return the files' paths inside it.

    Raises:
        ConfigError: If a name or the owner cannot be used.
        StoreError: If the folder exists or cannot be written; nothing is left behind then.
    """
    rendered = render_package(request)
    try:
        if folder.exists() or folder.is_symlink():
            raise FileExistsError(0, "it exists, and nothing in it was changed")
        _write(rendered, folder)
    except OSError as error:
        raise StoreError(
            f"cannot write {folder}: {error.strerror or error}",
            fix="name a folder with --out that does not exist and that you may create",
        ) from error
    return sorted(map(Path, rendered))


def render_package(request: PackageRequest) -> dict[str, str]:
    """Return the new package's files: path inside its folder to text."""
    spec = SPECS[request.kind]
    names = check_name(request.name, spec.component)
    values = _values(request, spec, names)
    values["usage"] = Template((TEMPLATES / "usage" / f"{request.kind}.md{SUFFIX}").read_text("utf-8")).substitute(
        values
    )
    return _render(TEMPLATES / "common", values) | _render(TEMPLATES / request.kind, values)


def _values(request: PackageRequest, spec: KindSpec, names: Names) -> dict[str, str]:
    """Return what the templates' placeholders stand for."""
    owner = _check_owner(request.owner) or f"the authors of {names.distribution}"
    distribution, _, verifier = _check_verifier(request.verifier).partition("/")
    class_name = names.camel.removesuffix(spec.suffix) + spec.suffix
    test = ["pytest>=8"] + ([f"{distribution}>=0.1"] if request.kind == "teacher" else [])
    config = f'\n            config="{names.module}.configs:{names.camel}Config",' if spec.heavy else ""
    return {
        "name": names.distribution,
        "module": names.module,
        "camel": names.camel,
        "component_kind": spec.component,
        "class_name": class_name,
        "target": f"{names.module}.{spec.file}:{class_name}",
        "hook": spec.hook,
        "summary": spec.summary,
        "summary_yaml": json.dumps(spec.summary),
        "example": spec.example,
        "config": config,
        "light": f"{names.module}.plugin, {names.module}.{'configs' if spec.heavy else spec.file}",
        "core": f"{CORE}[train]>=0.1,<0.2" if spec.heavy else f"{CORE}>=0.1,<0.2",
        "test": json.dumps(test),
        "licence": request.licence,
        "owner": owner,
        "owner_toml": json.dumps(owner, ensure_ascii=False),
        "verifier_distribution": distribution,
        "verifier": verifier,
    }


def _check_owner(owner: str) -> str:
    if not all(character.isprintable() for character in owner):
        raise ConfigError(f"the owner {owner!r} must be one line of printable text", fix="give --owner as plain text")
    return owner.strip()


def _check_verifier(verifier: str) -> str:
    parts = verifier.split("/")
    if len(parts) != 2 or not all(NAME.fullmatch(part) for part in parts):
        raise ConfigError(
            f"the verifier {verifier!r} must have the form distribution/name", fix=f"such as {DEFAULT_VERIFIER}"
        )
    return verifier


def _render(root: Traversable, values: Mapping[str, str], prefix: str = "") -> dict[str, str]:
    """Render every template below `root`; in paths, ``MODULE`` is the package and a leading ``dot_`` a dot."""
    rendered: dict[str, str] = {}
    for item in root.iterdir():
        name = prefix + item.name.replace("MODULE", values["module"]).replace("dot_", ".")
        if item.is_dir():
            rendered |= _render(item, values, f"{name}/")
        elif name.endswith(SUFFIX):
            rendered[name.removesuffix(SUFFIX)] = Template(item.read_text("utf-8")).substitute(values)
    return rendered


def _write(rendered: Mapping[str, str], folder: Path) -> None:
    """Write into a folder beside the wanted one, and rename it when all is there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = folder.with_name(f".{folder.name}-{os.getpid()}")
    staging.mkdir()
    try:
        for path, text in rendered.items():
            target = staging / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        staging.rename(folder)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
