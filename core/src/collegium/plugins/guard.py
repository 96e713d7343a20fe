"""Run a plugin's code at discovery: prints kept apart, an attempt to end the process turned into an error, timed."""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from types import ModuleType

from collegium.exit_guard import exit_refused

SLOW_S = 5.0
"""Seconds of an import after which its owner is named."""


@dataclass(frozen=True, slots=True)
class ImportTime:
    """One import of a plugin's module: seconds, about zero where it was imported before."""

    owner: str
    module: str
    seconds: float


_recorded: ContextVar[list[ImportTime] | None] = ContextVar("recorded", default=None)


def import_plugin(module: str, owner: str) -> ModuleType:
    """Import a module of a plugin, `contained`.

    Raises:
        ExitRefused: If it calls `os._exit`.
    """
    start = time.perf_counter()
    try:
        with contained(), _said_if_slow(owner):
            return importlib.import_module(module)
    finally:
        if (found := _recorded.get()) is not None:
            found.append(ImportTime(owner, module, time.perf_counter() - start))


@contextlib.contextmanager
def _said_if_slow(owner: str) -> Iterator[None]:
    """Say whose import it is that a command waits for; Python cannot stop it."""

    def say() -> None:
        with contextlib.suppress(OSError, ValueError):
            print(f"still importing {owner} after {SLOW_S:g} s; --no-plugin {owner} leaves it out", file=sys.stderr)

    timer = threading.Timer(SLOW_S, say)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def describe(error: BaseException) -> str:
    """Return type and message of a plugin's exception, whose own `__str__` may raise."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return f"{type(error).__name__}: its message cannot be shown"


@contextlib.contextmanager
def contained() -> Iterator[None]:
    """Send prints to standard error, so that they cannot mix with a command's output, and let `os._exit` raise."""
    with contextlib.redirect_stdout(sys.stderr), exit_refused():
        yield


@contextlib.contextmanager
def recorded_imports() -> Iterator[list[ImportTime]]:
    """Collect the imports of plugins' modules for as long as the context lasts."""
    found: list[ImportTime] = []
    token = _recorded.set(found)
    try:
        yield found
    finally:
        _recorded.reset(token)
