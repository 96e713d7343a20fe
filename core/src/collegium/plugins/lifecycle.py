"""Call lifecycle hooks so that a plugin's failure is reported with its owner and never stops a run.

With ``COLLEGIUM_TRACE=1`` every call, in worker processes too, is an event ``hook-called`` in the run's
``events.jsonl``, with its plugin, hook and seconds.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Any, Protocol

from collegium.events import RunStarted
from collegium.plugins.guard import describe

logger = logging.getLogger(__name__)

TRACE_VARIABLE = "COLLEGIUM_TRACE"
_DIRECTORY_VARIABLE = "COLLEGIUM_TRACE_DIRECTORY"
"""Set for the worker processes, which inherit it."""


class HasManager(Protocol):
    """What is needed of a registry: the plugin manager that holds the hooks."""

    manager: Any


def notify(registry: HasManager, hook: str, event: Any) -> None:
    """Tell every plugin that implements `hook` of an event."""
    traced = os.environ.get(TRACE_VARIABLE, "") not in ("", "0")
    if traced and isinstance(event, RunStarted):
        os.environ[_DIRECTORY_VARIABLE] = str(Path(event.directory).resolve())
    for implementation in getattr(registry.manager.hook, hook).get_hookimpls():
        start = time.perf_counter()
        failed = ""
        try:
            implementation.function(*([event] if implementation.argnames else []))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            failed = describe(error)
            logger.warning("%s: %s failed: %s", implementation.plugin_name, hook, failed)
        if traced:
            _trace(implementation.plugin_name, hook, time.perf_counter() - start, failed)


def _trace(plugin: str, hook: str, seconds: float, failed: str) -> None:
    from collegium.running.directory import RunDirectory

    directory = os.environ.get(_DIRECTORY_VARIABLE)
    if not directory:  # a job that no run started
        return
    facts = {"failed": failed} if failed else {}
    try:
        RunDirectory(Path(directory)).event("hook-called", plugin=plugin, hook=hook, seconds=round(seconds, 6), **facts)
    except OSError as error:
        logger.warning("%s: the call of %s could not be noted: %s", plugin, hook, error)
