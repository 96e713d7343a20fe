"""The check of options that name files: their contents must be part of the fingerprint."""

from __future__ import annotations

import contextlib
import re
import tempfile
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from collegium.component import KINDS, Config
from collegium.errors import CollegiumError
from collegium.kinds.tasks import TaskSource
from collegium.testing.conformance.check import check
from collegium.testing.conformance.checks.general import models
from collegium.testing.conformance.outcome import require
from collegium.testing.conformance.subject import CannotBuild, Subject

NAMES_A_FILE = re.compile(r"(^|_)(path|file|folder|dir|directory)s?$")
"""Names of text options that name a file or folder."""
MAY_NAME_A_FILE = re.compile(r"(^|_)(data|text|texts|prompts|source|corpus|cases|model|checkpoint|template)$")
"""Names of text options that do if their description says so."""
SAYS_FILE = re.compile(r"\b(file|folder|directory)\b", re.IGNORECASE)
NO_INPUT = re.compile(r"(^|_)(cache|log|out|output|scratch)(_|$)")
"""Names of what is written or kept, not read as an input."""
KINDS_OF_RESULTS = tuple(kind for kind in KINDS if kind not in ("tracker", "executor"))
"""Kinds whose options change numbers: files that a tracker or an executor names are where it writes."""


@check(*KINDS_OF_RESULTS)
def content_paths(subject: Subject) -> None:
    """An option that names a file or folder is among `Config.content_paths` (or a task source's `files`).

    What is no input, such as a cache, says so: ``Field(json_schema_extra={"content": False})``.
    """
    with tempfile.TemporaryDirectory(prefix="collegium-content-") as folder:
        file = Path(folder) / "content.json"
        file.write_text("{}\n", encoding="utf-8")
        for model in models(subject.config_class):
            if issubclass(model, Config):
                for name in file_options(model):
                    _require_named(subject, model, name, (file, Path(folder)))


def file_options(model: type[Config]) -> list[str]:
    """Return the options of a `Config` that name files: typed as `Path`, or text that is called or described so."""
    return [name for name, field in model.model_fields.items() if _is_content(field) and _names_file(name, field)]


def _is_content(field: FieldInfo) -> bool:
    extra = field.json_schema_extra
    return not (isinstance(extra, Mapping) and extra.get("content") is False)


def _names_file(name: str, field: FieldInfo) -> bool:
    if NO_INPUT.search(name):
        return False
    types = set(_leaves(field.annotation))
    if any(isinstance(each, type) and issubclass(each, Path) for each in types):
        return True
    described = MAY_NAME_A_FILE.search(name) and SAYS_FILE.search(field.description or "")
    return str in types and bool(NAMES_A_FILE.search(name) or described)


def _leaves(annotation: Any) -> Iterator[Any]:
    arguments = typing.get_args(annotation)
    if not arguments or typing.get_origin(annotation) is typing.Literal:
        yield annotation
    for argument in arguments if typing.get_origin(annotation) is not typing.Literal else ():
        yield from _leaves(argument)


def _require_named(subject: Subject, model: type[Config], name: str, places: tuple[Path, ...]) -> None:
    """Set an option to a file and to a folder that exist: where one is accepted, it must be among the contents."""
    accepted = False
    for place in places:
        config = _configured(subject, model, name, place)
        if config is None:
            continue
        accepted = True
        if _returns(subject, config, place):
            return
    where = f"{model.__qualname__}.{name}"
    require(not accepted, f"{where} names a file or folder, but content_paths() does not return it when it is set")


def _configured(subject: Subject, model: type[Config], name: str, place: Path) -> Config | None:
    """Return options with one set to a path, alone or in a collection; None if they are refused."""
    base: dict[str, Any] = {}
    if model is subject.config_class:
        with contextlib.suppress(CannotBuild):
            base = subject.options
    for value in (str(place), [str(place)], {"a": str(place)}):
        with contextlib.suppress(ValidationError):
            return model.model_validate({**base, name: value})
    return None


def _returns(subject: Subject, config: Config, place: Path) -> bool:
    """Whether the contents that options name include a path; an error on it shows that it was looked at."""
    try:
        found = [Path(path) for path in config.content_paths()]
        if isinstance(config, subject.config_class) and issubclass(subject.component_class, TaskSource):
            found += [Path(path) for path in subject.component_class(config).files()]
    except CollegiumError:
        return True
    return any(path == place or place in path.parents for path in found)
