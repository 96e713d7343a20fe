"""The registry: resolves component names to classes, validates their options, and builds them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pluggy

from collegium.component import Component, Config, Configurable, Kind
from collegium.errors import PluginCollision, PluginLoadError, PluginNotFound
from collegium.plugins.discovery import CORE, PluginRecord, discover, normalise
from collegium.plugins.guard import import_plugin


@dataclass(frozen=True, slots=True)
class Entry:
    """A component of a loaded plugin."""

    kind: Kind
    component: Component
    record: PluginRecord

    @property
    def id(self) -> str:
        """Full id: ``distribution/name``."""
        return f"{self.record.distribution}/{self.component.name}"

    def config_class(self) -> type[Config]:
        """Import and return the component's `Config`, from its light module where it has one.

        Raises:
            PluginLoadError: If the import fails or the class is no `Config`.
        """
        path = self.component.config
        found = self._import(path) if path else self.load().Config
        if not (isinstance(found, type) and issubclass(found, Config)):
            raise PluginLoadError(
                f"{self.kind} {self.id!r}: its Config must subclass collegium.Config, found {found!r}",
                owner=self.record.distribution,
                fix=f"upgrade or mend {self.record.distribution}",
            )
        return found

    def load(self) -> type[Configurable]:
        """Import and return the component's class."""
        found = self._import(self.component.target)
        if not (isinstance(found, type) and issubclass(found, Configurable)):
            raise PluginLoadError(
                f"{self.kind} {self.id!r}: {self.component.target} must be a class from collegium's {self.kind} base, "
                f"found {found!r}",
                owner=self.record.distribution,
            )
        return found

    def _import(self, path: str) -> Any:
        module, _, attribute = path.partition(":")
        try:
            found: Any = import_plugin(module, self.record.distribution)
            for part in attribute.split("."):
                found = getattr(found, part)
            return found
        except (Exception, SystemExit) as error:
            raise PluginLoadError(
                f"{self.kind} {self.id!r} cannot be imported from {path}: {type(error).__name__}: {error}",
                owner=self.record.distribution,
                fix=f"pip install --upgrade {self.record.distribution} (or install what it says is missing)",
            ) from error


class Registry:
    """All components of all loaded plugins."""

    def __init__(self, manager: pluggy.PluginManager, records: Iterable[PluginRecord]) -> None:
        self.manager = manager
        self.records = self._without_shadows(records)
        self._entries: dict[tuple[Kind, str], list[Entry]] = {}
        for record in self.records:
            for kind, component in record.components:
                self._entries.setdefault((kind, component.name), []).append(Entry(kind, component, record))

    @classmethod
    def discover(cls, blocked: Iterable[str] = ()) -> Registry:
        """Scan the installed distributions once and build a registry of them."""
        return cls(*discover(blocked))

    def _without_shadows(self, records: Iterable[PluginRecord]) -> list[PluginRecord]:
        """Fail the plugins that offer a name of the core's."""
        records = list(records)
        core = {(k, c.name) for record in records if record.distribution == CORE for k, c in record.components}
        kept = []
        for record in records:
            shadows = sorted(
                f"{k} {c.name!r}" for k, c in record.components if record.distribution != CORE and (k, c.name) in core
            )
            if shadows:
                cause = f"it offers {', '.join(shadows)}, which the core owns; rename the component"
                record = replace(record, status="failed", cause=cause, components=())
                self.manager.unregister(name=record.distribution)
            kept.append(record)
        return kept

    def entries(self, kind: Kind | None = None) -> Iterator[Entry]:
        """Yield every component (of one kind), by kind and name."""
        for (entry_kind, _), entries in sorted(self._entries.items()):
            if kind in (None, entry_kind):
                yield from entries

    def record(self, distribution: str) -> PluginRecord | None:
        """Return the record of a distribution, or None if it offers no plugin."""
        return next(iter(self.records_of(distribution)), None)

    def records_of(self, distribution: str) -> list[PluginRecord]:
        """Return the records of all entry points of a distribution."""
        name = normalise(distribution)
        return [record for record in self.records if record.distribution == name]

    def find(self, kind: Kind, name: str) -> Entry:
        """Resolve ``short`` or ``distribution/short``.

        Raises:
            PluginNotFound: If nothing offers it; the message lists what there is and what failed to load.
            PluginCollision: If several distributions offer the short name.
        """
        distribution, _, short = name.rpartition("/")
        entries = self._entries.get((kind, short), [])
        if distribution:
            entries = [entry for entry in entries if entry.record.distribution == normalise(distribution)]
        if len(entries) == 1:
            return entries[0]
        if entries:
            ids = " or ".join(entry.id for entry in entries)
            raise PluginCollision(
                f"{kind} {name!r} is offered by {len(entries)} packages: {ids}",
                fix=f"write the full name, such as {entries[0].id}",
                owner=", ".join(entry.record.distribution for entry in entries),
            )
        raise self._not_found(kind, name, distribution, short)

    def _not_found(self, kind: Kind, name: str, distribution: str, short: str) -> PluginNotFound:
        record = self.record(distribution) if distribution else None
        if distribution and record is None:
            return PluginNotFound(
                f"{kind} {name!r}: the package {distribution!r} is not installed",
                fix=f"pip install {distribution}",
                owner=distribution,
            )
        if record is not None and record.status != "loaded":
            return PluginNotFound(
                f"{kind} {name!r}: {record.distribution} {record.version} is {record.status}: {record.cause}",
                fix="collegium plugins doctor shows the cause",
                owner=record.distribution,
            )
        names = sorted({entry.component.name for entry in self.entries(kind)})
        close = difflib.get_close_matches(short, names, n=1)
        failed = [f"{r.distribution} ({r.cause})" for r in self.records if r.status == "failed"]
        broken = f"; plugins that failed to load: {', '.join(failed)}" if failed else ""
        return PluginNotFound(
            f"unknown {kind} {name!r}; installed: {', '.join(names) or 'none'}{broken}",
            fix=f"did you mean {close[0]!r}?" if close else "pip install the package that provides it",
        )

    def build(self, kind: Kind, name: str, options: Mapping[str, Any] | None = None) -> Any:
        """Import a component's class and instantiate it with its validated options."""
        entry = self.find(kind, name)
        return entry.load()(entry.config_class().model_validate(dict(options or {})))
