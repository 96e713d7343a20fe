"""How many rows of each part make the mix, and which."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

from collegium import ConfigError
from collegium.training.seeds import derive
from collegium_data.curate_config import OWNER, SourceConfig


def counts_of(available: Mapping[str, int], sources: Mapping[str, SourceConfig], most: int | None) -> dict[str, int]:
    """Return how many rows of each part to take.

    With weights: the largest mix in these proportions that repeats no row and has at most `most`. Without: all rows,
    or `most` of them in proportion to what there is.

    Raises:
        ConfigError: If some parts have weights and others do not, or something is said of a part that is not there.
    """
    _check_names(available, sources)
    capped = {name: _capped(count, sources.get(name)) for name, count in available.items()}
    weights = {name: said.weight for name, said in sources.items() if said.weight is not None}
    if not weights:
        total = sum(capped.values())
        return capped if most is None or total <= most else _apportion(most, capped)
    missing = sorted(set(capped) - set(weights))
    if missing or not any(weights.values()):
        raise ConfigError(
            f"sources gives weights to {', '.join(sorted(weights))} and none to {', '.join(missing) or 'any above 0'}",
            fix="give every part a weight; 0 leaves one out",
            owner=OWNER,
        )
    empty = sorted(name for name, weight in weights.items() if weight and not capped[name])
    if empty:
        raise ConfigError(
            f"sources gives weights to {', '.join(empty)}, and no row of these is left", fix="leave them out",
            owner=OWNER,
        )  # fmt: skip
    whole = sum(weights.values())
    largest = min(math.floor(capped[name] * whole / weight + 1e-9) for name, weight in weights.items() if weight)
    return _apportion(largest if most is None else min(most, largest), weights)


def choose(count: int, available: int, *seed: object) -> list[int]:
    """Return `count` of the first `available` numbers, in order, chosen by the seed."""
    if count >= available:
        return list(range(available))
    return sorted(random.Random(derive(0, *seed)).sample(range(available), count))


def _apportion(total: int, weights: Mapping[str, float]) -> dict[str, int]:
    """Split a total in proportion to weights; the rounding's rest goes to the largest fractions."""
    whole = sum(weights.values())
    exact = {name: total * weight / whole for name, weight in weights.items()}
    counts = {name: math.floor(share + 1e-9) for name, share in exact.items()}
    by_fraction = sorted(exact, key=lambda name: (counts[name] - exact[name], name))
    for name in by_fraction[: total - sum(counts.values())]:
        counts[name] += 1
    return counts


def _capped(count: int, said: SourceConfig | None) -> int:
    return count if said is None or said.count is None else min(count, said.count)


def _check_names(available: Mapping[str, int], sources: Mapping[str, SourceConfig]) -> None:
    unknown = sorted(set(sources) - set(available))
    if unknown:
        raise ConfigError(
            f"sources names {', '.join(map(repr, unknown))}; there are {', '.join(sorted(available)) or 'none'}",
            fix="name domains, stages of data_from and files of data; with mix_by: domain, domains",
            owner=OWNER,
        )
