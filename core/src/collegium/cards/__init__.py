"""Cards: what a plugin distribution says of itself, read without importing it."""

from collegium.cards.metadata import Ownership, ownership_of
from collegium.cards.model import Card, Checkpoint, ComponentCard, OwnDomain
from collegium.cards.read import card_entry, package_file, read_card, read_measured

__all__ = [
    "Card",
    "Checkpoint",
    "ComponentCard",
    "OwnDomain",
    "Ownership",
    "card_entry",
    "ownership_of",
    "package_file",
    "read_card",
    "read_measured",
]
