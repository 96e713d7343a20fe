"""Call lifecycle hooks so that a plugin's failure is reported with its owner and never stops a run."""

from __future__ import annotations

import logging
from typing import Any, Protocol

logger = logging.getLogger(__name__)


class HasManager(Protocol):
    """What is needed of a registry: the plugin manager that holds the hooks."""

    manager: Any


def notify(registry: HasManager, hook: str, event: Any) -> None:
    """Tell every plugin that implements `hook` of an event."""
    for implementation in getattr(registry.manager.hook, hook).get_hookimpls():
        try:
            implementation.function(*([event] if implementation.argnames else []))
        except (Exception, SystemExit) as error:
            logger.warning("%s: %s failed: %s: %s", implementation.plugin_name, hook, type(error).__name__, error)
