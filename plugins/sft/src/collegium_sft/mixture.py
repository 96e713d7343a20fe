"""Which example comes when, where domains have shares of the batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from collegium import ConfigError
from collegium.training.packing import epoch_order
from collegium.training.seeds import derive

OTHER = "other"
"""Domain of the rows that say none."""
TEXT = "raw text"
"""What raw text counts as: no domain's name has a space."""


def shares_of(weights: Mapping[str, float], text_share: float, domains: Sequence[str]) -> dict[str, float]:
    """Return the share of each domain that there is, and of raw text.

    Without weights, examples keep the proportions that they are there in.

    Raises:
        ConfigError: If a domain has examples and no weight, or a weight and no examples.
    """
    found = sorted(set(domains))
    if weights and sorted(weights) != found:
        wrong = ", ".join(sorted(set(weights) ^ set(found)))
        raise ConfigError(
            f"weights names {', '.join(sorted(weights))}, and the examples are of {', '.join(found) or 'none'}: "
            f"{wrong} is on one side only",
            fix="give each domain that has examples a weight, and no other; rows that say no domain are of `other`",
            owner="collegium-sft",
        )
    sizes: Mapping[str, float] = weights or {name: domains.count(name) for name in found}
    whole = sum(sizes.values())
    shares = {name: size / whole * (1 - text_share) for name, size in sizes.items()}
    return {**shares, TEXT: text_share} if text_share else shares


def weighted_order(parts: Mapping[str, Sequence[int]], shares: Mapping[str, float], total: int, seed: int) -> list[int]:
    """Return the example of each of `total` positions: at any of them each part is within one of its share.

    A part goes through its examples epoch by epoch, each once per epoch, in an order that follows from the seed.
    """
    given = dict.fromkeys(parts, 0)
    orders: dict[tuple[str, int], list[int]] = {}
    order: list[int] = []
    for position in range(1, total + 1):
        name = max(parts, key=lambda each: (shares[each] * position - given[each], each))
        epoch, place = divmod(given[name], len(parts[name]))
        if (name, epoch) not in orders:
            orders[name, epoch] = epoch_order(len(parts[name]), epoch, derive(seed, name))
        order.append(parts[name][orders[name, epoch][place]])
        given[name] += 1
    return order
