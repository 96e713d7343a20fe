"""Examine every installed plugin: in a child process first, then here, and its card."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from collegium.cards.show import card_fault
from collegium.plugins.discovery import PluginRecord, blocked_names, entry_points
from collegium.plugins.registry import Registry
from collegium.plugins.trial import tried


def examine(timeout_s: float) -> list[dict[str, Any]]:
    """Return one row per entry point: how it loaded, why not, and what is wrong with its card.

    Args:
        timeout_s: Seconds that importing one plugin may take.
    """
    refused = blocked_names()
    modules = {module: distribution for distribution, _, module in entry_points() if distribution not in refused}
    faults = tried(list(modules), timeout_s)
    registry = Registry.discover(modules[module] for module in faults)
    return [_row(record, faults.get(record.module, "")) for record in registry.records]


def _row(record: PluginRecord, fault: str) -> dict[str, Any]:
    if fault:
        record = replace(record, status="failed", cause=fault)
    card = card_fault(record.module, record.distribution)
    return {
        "distribution": record.distribution,
        "version": record.version,
        "module": record.module,
        "api": record.api,
        "status": record.status,
        "cause": record.cause,
        "components": len(record.components),
        "card": card is not None,
        "card_fault": card or "",
    }
