"""The weighters `uniform` and `balanced`.

Source: Open-MOPD (arXiv 2608.19098): each sequence weighs ``target / observed`` share of its domain, observed on the
batch at hand, scaled to mean 1. Without it, and with a mean over tokens, a domain of short answers has next to no
gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field, field_validator

from collegium import Config as BaseConfig
from collegium import ConfigError, Weighter

OWNER = "collegium-mopd"


class Uniform(Weighter):
    """Every sequence counts alike."""

    def weights(self, domains: Sequence[str], tokens: Sequence[int]) -> list[float]:
        """Return 1 for every sequence."""
        return [1.0] * len(domains)


class Balanced(Weighter):
    """Every domain has its target share of the gradient, whatever its share of the batch."""

    class Config(BaseConfig):
        """Options of the weighter `balanced`."""

        targets: dict[str, float] = Field(default_factory=dict)
        """Domain to its share of the gradient; scaled to sum to 1 over those of the batch. Default: equal shares."""
        observed: Literal["sequences", "tokens"] = "sequences"
        """What a domain's share of the batch is counted in: sequences where the stage's aggregation is
        ``sequence-mean``, tokens where it is ``token-mean`` or ``constant``."""

        @field_validator("targets")
        @classmethod
        def _shares_are_positive(cls, targets: dict[str, float]) -> dict[str, float]:
            wrong = {domain: share for domain, share in targets.items() if share <= 0}
            if wrong:
                raise ConfigError(
                    f"target shares must be positive, got {wrong}",
                    fix="leave such domains out of the stage",
                    owner=OWNER,
                )
            return targets

    def weights(self, domains: Sequence[str], tokens: Sequence[int]) -> list[float]:
        """Return each sequence's weight: that of its domain; a domain without a trained token weighs 0.

        Raises:
            ConfigError: If there are targets and a domain of the batch has none.
        """
        amounts = [1 if count else 0 for count in tokens] if self.config.observed == "sequences" else list(tokens)
        observed: dict[str, int] = {}
        for domain, amount in zip(domains, amounts, strict=True):
            observed[domain] = observed.get(domain, 0) + amount
        targets = self._targets(sorted(observed))
        by_domain = {domain: targets[domain] / amount if amount else 0.0 for domain, amount in observed.items()}
        return _mean_one([by_domain[domain] for domain in domains])

    def _targets(self, domains: Sequence[str]) -> dict[str, float]:
        targets = self.config.targets or dict.fromkeys(domains, 1.0)
        missing = [domain for domain in domains if domain not in targets]
        if missing:
            raise ConfigError(
                f"weighter balanced has no target for {', '.join(map(repr, missing))}; its targets are for "
                f"{', '.join(map(repr, sorted(targets)))}",
                fix="give every domain of the stage a target, or none for equal shares",
                owner=OWNER,
            )
        return targets


def _mean_one(weights: Sequence[float]) -> list[float]:
    mean = sum(weights) / len(weights) if weights else 0.0
    return [weight / mean for weight in weights] if mean else [1.0] * len(weights)
