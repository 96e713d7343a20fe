"""Checks of weighters: one weight per sequence, not negative, with mean 1, whatever the order."""

from __future__ import annotations

import math
from collections.abc import Sequence

from collegium.testing.conformance.check import check
from collegium.testing.conformance.exercise import DOMAINS, TOKENS
from collegium.testing.conformance.outcome import require
from collegium.testing.conformance.subject import Subject


@check("weighter")
def weights_valid(subject: Subject) -> None:
    """There is one finite, non-negative weight per sequence, and their mean is 1."""
    for domains, tokens in ((DOMAINS, TOKENS), (DOMAINS[:1], TOKENS[:1]), (DOMAINS, (0, *TOKENS[1:]))):
        found = _weights(subject, domains, tokens)
        require(len(found) == len(domains), f"{len(found)} weights for {len(domains)} sequences")
        require(all(0 <= each < math.inf for each in found), f"weights must be finite and not negative, found {found}")
        mean = sum(found) / len(found)
        require(math.isclose(mean, 1, abs_tol=1e-6), f"weights must have mean 1, found {mean:g} for {found}")


@check("weighter")
def weights_follow_sequences(subject: Subject) -> None:
    """Reversing the batch reverses the weights, and the same batch gets the same weights again."""
    first, again = _weights(subject, DOMAINS, TOKENS), _weights(subject, DOMAINS, TOKENS)
    require(first == again, f"first {first}, then {again}")
    turned = _weights(subject, DOMAINS[::-1], TOKENS[::-1])[::-1]
    same = all(math.isclose(a, b, abs_tol=1e-9) for a, b in zip(first, turned, strict=True))
    require(same, f"{first} in order, {turned} when reversed")


def _weights(subject: Subject, domains: Sequence[str], tokens: Sequence[int]) -> list[float]:
    return [float(weight) for weight in subject.build().weights(domains, tokens)]
