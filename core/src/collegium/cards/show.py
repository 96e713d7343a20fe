"""All that is known of a component without running it, for `collegium plugins show`."""

from __future__ import annotations

import dataclasses
from typing import Any

from collegium.cards.example import example_yaml
from collegium.cards.metadata import ownership_of
from collegium.cards.read import card_entry, read_card, read_measured
from collegium.errors import CollegiumError
from collegium.planning.conformance import conformance_of
from collegium.plugins.registry import Entry, Registry


def describe(entry: Entry, registry: Registry) -> dict[str, Any]:
    """Return a component's card, owner, measured rates, conformance, options and an example, as plain JSON.

    ``card`` is None where there is none, and ``faults`` lists what is wrong with the files beside the code.
    """
    record = entry.record
    faults: list[str] = []
    card, measured = None, None
    try:
        card = read_card(record.module, record.distribution)
    except CollegiumError as error:
        faults += [str(problem) for problem in error.problems]
    try:
        measured = read_measured(record.module, record.distribution)
    except CollegiumError as error:
        faults += [str(problem) for problem in error.problems]
    said = card_entry(card, entry.kind, entry.component.name)
    config = entry.config_class()
    return {
        "kind": entry.kind,
        "id": entry.id,
        "version": record.version,
        "api": record.api,
        "summary": entry.component.summary,
        "distribution": dataclasses.asdict(ownership_of(record.distribution)),
        "card": said.model_dump(mode="json", exclude_none=True) | {"contract": card.contract}
        if card and said
        else None,
        "measured": measured,
        "conformance": dataclasses.asdict(conformance_of(registry.records_of(record.distribution))),
        "faults": faults,
        "options": config.model_json_schema(),
        "example": example_yaml(entry.kind, entry.id, config, said.example if said else None),
    }


def card_fault(module: str, distribution: str) -> str | None:
    """Return what is wrong with a distribution's card; empty if it is sound, None if there is none."""
    try:
        return None if read_card(module, distribution) is None else ""
    except CollegiumError as error:
        return str(error)
