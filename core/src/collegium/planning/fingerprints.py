"""A plan's fingerprints: what each stage's artifact and scores depend on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from collegium.component import Use
from collegium.hookspecs import API
from collegium.planning.fingerprint import code_digest, digest
from collegium.plugins.registry import Entry

if TYPE_CHECKING:
    from collegium.planning.plan import Plan


class Fingerprints:
    """Fills in the fingerprints of a plan's stages, in order."""

    def __init__(self, plan: Plan, domain_entries: Mapping[str, list[Entry]]) -> None:
        self.plan = plan
        plan.domain_digests = self.domain_digests = {
            name: digest(
                [
                    spec.model_dump(mode="json"),
                    sorted(plan.data_digests[name].values()),  # what is in the files, not where they lie
                    self._entries(domain_entries[name]),
                ]
            )
            for name, spec in plan.domains.items()
        }

    def _entries(self, entries: Iterable[Entry]) -> list[list[str]]:
        return sorted(
            [entry.kind, entry.id, entry.record.version, code_digest(entry.record.module)] for entry in entries
        )

    def fill(self) -> None:
        """Write each stage's fingerprint, and that of its scores where it is evaluated."""
        core = [API, code_digest("collegium")]
        recipe = self.plan.recipe
        for stage in self.plan.stages.values():
            node = stage.node
            stage.fingerprint = digest(
                {
                    "core": core,
                    "id": node.id,
                    "components": self._entries(stage.components.values()),
                    "options": stage.options,
                    "contents": sorted(stage.contents.values()),
                    "domains": {name: self.domain_digests[name] for name in node.domains},
                    "inputs": {edge: [self._of(source) for source in found] for edge, found in node.inputs.items()},
                    "teachers": {
                        name: teacher.model_dump(mode="json") if isinstance(teacher, Use) else self._teacher(teacher)
                        for name, teacher in stage.teachers.items()
                    },
                    "seed": stage.seed,
                    "errors": recipe.errors.model_dump(mode="json"),
                    "threads": recipe.threads,
                }
            )
            if node.evaluate and stage.config.produces == "model" and self.plan.domains:
                stage.scores_fingerprint = digest(
                    [stage.fingerprint, self.domain_digests, recipe.evaluation.model_dump(mode="json")]
                )

    def _teacher(self, teacher: str) -> str:
        return "self" if teacher == "self" else self._of(teacher)

    def _of(self, source: str) -> str:
        if source in self.plan.stages:
            return self.plan.stages[source].fingerprint
        return self.plan.model_digests[source]
