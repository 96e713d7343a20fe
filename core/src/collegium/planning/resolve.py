"""Resolve the components that a config names, however deep, and validate their options."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from collegium.component import Config, Kind, OfKind, Use
from collegium.errors import CollegiumError, Problem
from collegium.planning.fingerprint import content_digest
from collegium.plugins.registry import Entry, Registry
from collegium.recipe.problems import problems_of
from collegium.recipe.source import SourceMap


class Resolver:
    """Resolves `Use` values; collects the problems, the entries that were used and the contents they name."""

    def __init__(self, registry: Registry, sources: SourceMap) -> None:
        self.registry = registry
        self.sources = sources
        self.problems: list[Problem] = []
        self.used: dict[str, Entry] = {}
        self.contents: dict[str, str] = {}

    def find(self, kind: Kind, name: str, path: Sequence[str]) -> Entry | None:
        """Look a component up; a failure becomes a problem at `path`."""
        try:
            entry = self.registry.find(kind, name)
        except CollegiumError as error:
            self._carry(error, path)
            return None
        self.used[f"{kind}:{entry.id}"] = entry
        return entry

    def _carry(self, error: CollegiumError, path: Sequence[str]) -> None:
        dotted = ".".join(path)
        for problem in error.problems:
            where = problem.where or self.sources.locate(path)
            self.problems.append(Problem(f"{dotted}: {problem.what}", problem.fix, problem.owner, where))

    def config(self, entry: Entry, options: dict[str, Any], path: Sequence[str], extra: Sequence[str] = ()) -> Any:
        """Validate a component's options; return its config, or None after recording the problems."""
        try:
            model = entry.config_class()
        except CollegiumError as error:
            self._carry(error, path)
            return None
        try:
            return model.model_validate(options)
        except ValidationError as error:
            owner = entry.record.distribution
            self.problems.extend(problems_of(error, model, path, self.sources, owner=owner, extra_keys=extra))
            return None

    def use(self, kind: Kind, use: Use, path: Sequence[str]) -> Use | None:
        """Resolve one `Use`: full id, and options validated and completed with the defaults, recursively."""
        entry = self.find(kind, use.use, path)
        if entry is None:
            return None
        config, known = self.config(entry, use.options, path), len(self.problems)
        options = {} if config is None else self.dump(config, path)
        # What holds something that is not resolved is not resolved either.
        return Use(use=entry.id, options=options) if config is not None and len(self.problems) == known else None

    def dump(self, config: Config, path: Sequence[str]) -> dict[str, Any]:
        """Return a config as plain JSON in which every nested component is resolved."""
        plain: dict[str, Any] = config.model_dump(mode="json")
        self._digest_contents(config, path)
        for name, field in type(config).model_fields.items():
            kind = kind_of(field)
            value = getattr(config, name)
            if kind is not None:
                plain[name] = self._nested(kind, value, (*path, name))
            else:
                plain[name] = self._configs(value, plain[name], (*path, name))
        return plain

    def _configs(self, value: Any, plain: Any, path: Sequence[str]) -> Any:
        """Return `plain`, the JSON of an option's value, with the configs inside lists and tables resolved."""
        if isinstance(value, Config):
            return self.dump(value, path)
        if isinstance(value, dict) and isinstance(plain, dict):
            items = zip(plain.items(), value.values(), strict=True)  # JSON's keys are texts
            return {key: self._configs(item, inner, (*path, str(key))) for (key, inner), item in items}
        if isinstance(value, (list, tuple)) and isinstance(plain, list):
            pairs = enumerate(zip(plain, value, strict=True))
            return [self._configs(item, inner, (*path, str(index))) for index, (inner, item) in pairs]
        return plain

    def _digest_contents(self, config: Config, path: Sequence[str]) -> None:
        """Digest the files that a config names; a missing one is a problem."""
        try:
            for content in config.content_paths():
                self.contents[str(content)] = content_digest(Path(content))
        except CollegiumError as error:
            self._carry(error, path)

    def _nested(self, kind: Kind, value: Any, path: Sequence[str]) -> Any:
        if isinstance(value, Use):
            resolved = self.use(kind, value, path)
            return None if resolved is None else resolved.model_dump(mode="json")
        if isinstance(value, dict):
            return {key: self._nested(kind, item, (*path, key)) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._nested(kind, item, (*path, str(index))) for index, item in enumerate(value)]
        return None


def kind_of(field: FieldInfo) -> Kind | None:
    """Return the kind of component that an option names, or None."""
    marked = next((item.kind for item in field.metadata if isinstance(item, OfKind)), None)
    return marked or next(_kinds(field.annotation), None)


def _kinds(annotation: Any) -> Iterator[Kind]:
    """Yield the kinds that an annotation such as ``list[UseAdvantage]`` marks inside it."""
    for item in getattr(annotation, "__metadata__", ()):
        if isinstance(item, OfKind):
            yield item.kind
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return
    for argument in get_args(annotation):
        yield from _kinds(argument)
