"""A reward source's context outside a run: its parts are built from the installed plugins, and judged as in a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from collegium.component import Use
from collegium.job import ErrorPolicy
from collegium.judge import Judge, RewardJudge
from collegium.kinds.reward import RewardContext
from collegium.plugins.registry import Registry


class InstalledParts:
    """Builds the parts of a reward source; see `collegium.kinds.reward.PartBuilder`.

    Args:
        judges: The verifier of each domain.
        registry: Finds the components. Default: the installed plugins.
        policy: What a part's errors may cost. Default: anything.
    """

    def __init__(
        self, judges: Mapping[str, Judge], registry: Registry | None = None, policy: ErrorPolicy | None = None
    ) -> None:
        self._registry = registry
        self.policy = policy or ErrorPolicy(budget=1.0)
        self.context = RewardContext(judges, (), self)
        self._built: list[Judge | RewardJudge] = []

    @property
    def registry(self) -> Registry:
        """The components, found when the first part is built."""
        if self._registry is None:
            self._registry = Registry.discover()
        return self._registry

    def __call__(
        self, use: Use, kind: Literal["reward", "verifier"], models: Sequence[str] = ()
    ) -> Judge | RewardJudge:
        """Build one part, ready to judge."""
        entry = self.registry.find(kind, use.use)
        owner, name = entry.record.distribution, entry.component.name
        component = self.registry.build(kind, use.use, use.options)
        judge: Judge | RewardJudge
        if kind == "verifier":
            judge = Judge(component, owner=owner, name=name, policy=self.policy, domain="")
        else:
            component.prepare(replace(self.context, models=tuple(models)))
            judge = RewardJudge(component, owner=owner, name=name, policy=self.policy)
        self._built.append(judge)
        return judge

    def close(self) -> None:
        """Release the parts; a reward source does not close what was built for it."""
        for judge in self._built:
            judge.close()
