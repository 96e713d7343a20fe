"""The reward `domain-verifier`: each sample judged by its own domain's verifier."""

from __future__ import annotations

from collections.abc import Sequence

from collegium.builtin_components.configs import DomainVerifierConfig
from collegium.errors import VerifierError
from collegium.kinds.reward import RewardContext, RewardSource
from collegium.task import Sample
from collegium.verdict import Verdict


class DomainVerifierReward(RewardSource):
    """Ask the judge of each sample's domain; a domain without one is an error, never a zero."""

    Config = DomainVerifierConfig

    def prepare(self, context: RewardContext) -> None:
        """Take the judges."""
        self.judges = context.judges

    def score(self, batch: Sequence[Sample]) -> Sequence[Verdict]:
        """Judge each domain's samples together.

        Raises:
            VerifierError: If a sample's domain has no verifier.
        """
        rows: dict[str, list[int]] = {}
        for row, sample in enumerate(batch):
            rows.setdefault(sample.domain, []).append(row)
        verdicts: dict[int, Verdict] = {}
        for domain, members in rows.items():
            if domain not in self.judges:
                raise VerifierError(
                    f"no verifier for domain {domain!r}; there is one for {', '.join(sorted(self.judges)) or 'none'}",
                    fix="give the domain a verifier in the recipe",
                    owner="collegium",
                )
            verdicts.update(zip(members, self.judges[domain].judge([batch[row] for row in members]), strict=True))
        return [verdicts[row] for row in range(len(batch))]
