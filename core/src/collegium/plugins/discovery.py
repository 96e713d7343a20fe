"""Discovery: find the distributions that offer a `collegium` entry point, and import each in isolation.

A plugin that fails to import or breaks the contract becomes a record with its cause; it never harms the others.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Literal

import pluggy

from collegium import hookspecs
from collegium.component import KINDS, Component, Kind
from collegium.plugins.guard import contained, describe, import_plugin

GROUP = "collegium"
BLOCK_VARIABLE = "COLLEGIUM_NO_PLUGIN"
CORE = "collegium"

PLURALS: dict[str, Kind] = {f"register_{kind}s": kind for kind in KINDS} | {"register_losses": "loss"}
"""Registration hook to the kind of component it returns."""
PLURALS.pop("register_losss")


@dataclass(frozen=True, slots=True)
class HookCall:
    """One call of a registration hook: how many components it gave, in how many seconds."""

    hook: str
    components: int
    seconds: float


@dataclass(frozen=True, slots=True)
class PluginRecord:
    """One entry point of the group `collegium` and how its loading went; `seconds` is the time of its import."""

    distribution: str
    version: str
    module: str
    status: Literal["loaded", "failed", "blocked"]
    api: int = hookspecs.API
    cause: str = ""
    components: tuple[tuple[Kind, Component], ...] = field(default=())
    seconds: float = 0.0
    hooks: tuple[HookCall, ...] = ()

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules that its code is found by: the entry point's, and its components'."""
        paths = (path for _, each in self.components for path in (each.target, each.config) if path)
        return tuple(sorted({self.module, *(path.partition(":")[0] for path in paths)}))


def normalise(name: str) -> str:
    """Return a distribution's normalised name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def blocked_names(extra: Iterable[str] = ()) -> frozenset[str]:
    """Return the distributions not to load: those given and those in the environment variable COLLEGIUM_NO_PLUGIN."""
    from_environment = os.environ.get(BLOCK_VARIABLE, "").split(",")
    return frozenset(normalise(name.strip()) for name in (*extra, *from_environment) if name.strip())


def discover(blocked: Iterable[str] = ()) -> tuple[pluggy.PluginManager, list[PluginRecord]]:
    """Import every plugin once and return the manager (lifecycle hooks) and one record per entry point."""
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    refused = blocked_names(blocked)
    records = []
    for distribution, version, module in entry_points():
        record = PluginRecord(distribution, version, module, "loaded")
        if distribution in refused and distribution != CORE:
            records.append(replace(record, status="blocked", cause="blocked by --no-plugin or " + BLOCK_VARIABLE))
        else:
            records.append(_load(manager, record))
    return manager, records


def entry_points() -> Iterator[tuple[str, str, str]]:
    """Yield (distribution, version, module) of each entry point, the core's own first, the rest by name."""
    found = set()
    for entry in importlib.metadata.entry_points(group=GROUP):
        name = entry.dist.metadata["Name"] if entry.dist is not None else None
        if entry.dist is not None and name:  # a half-removed distribution has no name
            found.add((normalise(name), entry.dist.version or "0", entry.value))
    yield from sorted(found, key=lambda item: (item[0] != CORE, item))


def _load(manager: pluggy.PluginManager, record: PluginRecord) -> PluginRecord:
    """Import and register one plugin; any failure is the record's cause."""
    module: ModuleType | None = None
    start = time.perf_counter()
    try:
        module = import_plugin(record.module, record.distribution)
        record = replace(record, seconds=time.perf_counter() - start)
        api = getattr(module, "collegium_api", hookspecs.API)
        if api != hookspecs.API:
            newer = isinstance(api, int) and api > hookspecs.API
            raise RuntimeError(
                f"it speaks contract {api!r}, this core speaks {hookspecs.API}: "
                f"upgrade {CORE if newer else record.distribution}"
            )
        manager.register(module, name=record.distribution)
        manager.check_pending()
        calls: list[HookCall] = []
        return replace(record, components=tuple(_components(module, calls)), hooks=tuple(calls))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if module is not None and manager.is_registered(module):
            manager.unregister(module)
        seconds = record.seconds or time.perf_counter() - start
        return replace(record, status="failed", cause=describe(error), seconds=seconds)


def _components(module: ModuleType, calls: list[HookCall]) -> Iterator[tuple[Kind, Component]]:
    """Yield what the module's own ``register_*`` hooks return, and note each call.

    Raises:
        TypeError: If a hook returns anything but components.
        ValueError: If one name is registered twice for a kind.
    """
    seen = set()
    for hook, kind in PLURALS.items():
        function = getattr(module, hook, None)
        if function is None:
            continue
        start = time.perf_counter()
        with contained():
            found = list(function())
        calls.append(HookCall(hook, len(found), time.perf_counter() - start))
        for offered in found:
            if not isinstance(offered, Component):
                raise TypeError(f"{hook}() must return component(...) entries, got {offered!r}")
            if (kind, offered.name) in seen:
                raise ValueError(f"{hook}() offers the {kind} {offered.name!r} twice")
            seen.add((kind, offered.name))
            yield kind, offered
