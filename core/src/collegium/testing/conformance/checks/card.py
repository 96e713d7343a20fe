"""The check of the card: present, strict, and in agreement with the code."""

from __future__ import annotations

from pydantic import ValidationError

from collegium.cards.model import Card, ComponentCard
from collegium.cards.read import CARD, card_entry, read_card
from collegium.plugins.registry import Entry
from collegium.testing.conformance.check import check
from collegium.testing.conformance.outcome import require
from collegium.testing.conformance.subject import Subject

DEFAULTS = {"deterministic": True, "network": False, "writes_files": False}
"""What a class that does not declare it is taken to be."""


@check()
def card(subject: Subject) -> None:
    """The distribution has a strict card.yaml that agrees with the code, and whose example is valid."""
    record = subject.entry.record
    found = read_card(record.module, record.distribution)
    if found is None:
        require(False, f"the package of {record.module} has no {CARD}")
        return
    require(found.contract == record.api, f"it states contract {found.contract}, the plugin speaks {record.api}")
    _require_same_components(found, subject.entry)
    said = card_entry(found, subject.kind, subject.entry.component.name)
    if said is not None:
        _require_declared(said, subject)
        _require_valid_example(said, subject)


def _require_same_components(found: Card, entry: Entry) -> None:
    offered = {f"{kind}/{component.name}" for kind, component in entry.record.components}
    missing, unknown = sorted(offered - set(found.components)), sorted(set(found.components) - offered)
    require(not missing, f"it has no entry for {', '.join(missing)}")
    require(not unknown, f"it names what is not registered: {', '.join(unknown)}")


def _require_declared(said: ComponentCard, subject: Subject) -> None:
    for name, default in DEFAULTS.items():
        stated, declared = getattr(said, name), bool(getattr(subject.component_class, name, default))
        require(stated == declared, f"it states {name}: {stated}, the class says {name} = {declared}")


def _require_valid_example(said: ComponentCard, subject: Subject) -> None:
    if said.example is None:
        return
    try:
        subject.config_class.model_validate(said.example)
    except ValidationError as error:
        first = error.errors()[0]
        require(
            False,
            f"card.yaml: its example is not valid: {'.'.join(map(str, first['loc']))}: {first['msg']}",
        )
