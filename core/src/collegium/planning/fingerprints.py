"""A plan's fingerprints: what each stage's artifact and scores depend on."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from collegium.component import Kind, Use
from collegium.hookspecs import API
from collegium.planning.fingerprint import (
    code_digest,
    digest,
    distribution_digest,
    library_versions,
    requirement_versions,
)
from collegium.plugins.registry import Entry

if TYPE_CHECKING:
    from collegium.planning.plan import Plan, PlannedStage

ALL_KINDS: tuple[Kind, ...] = ("task", "verifier", "environment")
"""What a domain is made of."""


class Fingerprints:
    """Fills in the fingerprints of a plan's stages, in order."""

    def __init__(self, plan: Plan, domain_entries: Mapping[str, list[Entry]]) -> None:
        self.plan = plan
        self._domain_entries = domain_entries
        plan.domain_digests = {name: self._domain(name, ALL_KINDS) for name in plan.domains}
        plan.domain_packages = {name: self._packages_of(name) for name in plan.domains}

    def _domain(self, name: str, kinds: Sequence[Kind]) -> str:
        """Return the digest of a domain's task source and data, with verifier and environment if `kinds` says so."""
        spec = self.plan.domains[name]
        return digest(
            [
                spec.model_dump(mode="json", include={str(kind) for kind in kinds}),
                sorted(self.plan.data_digests[name].values()),  # what is in the files, not where they lie
                self._entries(entry for entry in self._domain_entries[name] if entry.kind in kinds),
            ]
        )

    def _entries(self, entries: Iterable[Entry]) -> list[list[Any]]:
        """Return what the components are: ids, versions, code, and the versions of the libraries they stand on."""
        return sorted(
            [
                entry.kind,
                entry.id,
                entry.record.version,
                distribution_digest(entry.record.distribution, entry.record.modules),
                requirement_versions(entry.record.distribution),
            ]
            for entry in entries
        )

    def fill(self) -> None:
        """Write each stage's fingerprint, and that of its scores where it is evaluated."""
        core = [
            API,
            code_digest("collegium"),
            requirement_versions("collegium"),
            platform.python_version(),
        ]
        recipe = self.plan.recipe
        for stage in self.plan.stages.values():
            node = stage.node
            kinds: tuple[Kind, ...] = ALL_KINDS if stage.config.judges() else ("task",)
            own = {
                "core": core,
                "id": node.id,
                "components": self._entries(stage.components.values()),
                "options": stage.options,
                "contents": sorted(stage.contents.values()),
                "libraries": library_versions(stage.config.libraries()),
                "domains": {name: self._domain(name, kinds) for name in node.domains},
                "seed": stage.seed,
                "errors": recipe.errors.model_dump(mode="json") if stage.config.judges() else None,
                "threads": recipe.threads,
            }
            stage.own_fingerprint = digest(own)
            stage.packages = self._packages(stage, kinds)
            stage.fingerprint = digest(
                own
                | {
                    "inputs": {edge: [self._of(source) for source in found] for edge, found in node.inputs.items()},
                    "teachers": {
                        name: teacher.model_dump(mode="json") if isinstance(teacher, Use) else self._teacher(teacher)
                        for name, teacher in stage.teachers.items()
                    },
                }
            )
            if node.evaluate and stage.config.produces == "model" and self.plan.domains:
                stage.scores_fingerprint = digest(
                    [stage.fingerprint, self.plan.domain_digests, recipe.evaluation.model_dump(mode="json")]
                )

    def _packages(self, stage: PlannedStage, kinds: Sequence[Kind]) -> list[str]:
        """Return the distributions that a stage's numbers stand on, its domains' included."""
        domains = [e for name in stage.node.domains for e in self._domain_entries[name] if e.kind in kinds]
        return sorted({entry.record.distribution for entry in [*stage.components.values(), *domains]})

    def _packages_of(self, name: str) -> list[str]:
        """Return the distributions of a domain's tasks, verifier and environment."""
        return sorted({entry.record.distribution for entry in self._domain_entries[name]})

    def _teacher(self, teacher: str) -> str:
        return "self" if teacher == "self" else self._of(teacher)

    def _of(self, source: str) -> str:
        if source in self.plan.stages:
            return self.plan.stages[source].fingerprint
        return self.plan.model_digests[source]
