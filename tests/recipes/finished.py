"""A finished run, read from its directory: the report, the graph of stages, and the steps' metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from collegium.cli.recipes import open_store
from collegium.recipe import load_recipe
from collegium.recipe.expand import Expansion, StageNode
from collegium.reporting.metrics import read_metrics
from collegium.running.directory import RECIPE, REPORT, RunDirectory
from collegium.store import read_object
from tests.recipes.proportions import Share


class FigureMissing(LookupError):
    """A figure that a stage must have is not in its run."""


@dataclass(frozen=True)
class FinishedRun:
    """What the figures are read from.

    Args:
        report: Content of report.json.
        nodes: Stage to its node in the recipe's graph.
        metrics: Stage to its steps' metrics, in order.
        rows: Data stage to the rows of each of its files.
        teacher_scores: Stage to the scores of its teachers from outside the recipe, by name and domain.
        first_seconds: Stage to the seconds that it took when its artifact was made.
    """

    report: Mapping[str, Any]
    nodes: Mapping[str, StageNode]
    metrics: Mapping[str, Sequence[Mapping[str, float]]] = field(default_factory=dict)
    rows: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    teacher_scores: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    first_seconds: Mapping[str, float] = field(default_factory=dict)

    def stage(self, stage: str) -> Mapping[str, Any]:
        """Return a stage's entry of the report."""
        entries: dict[str, Mapping[str, Any]] = {entry["id"]: entry for entry in self.report["stages"]}
        if stage not in entries:
            raise FigureMissing(f"no stage {stage!r}; there are {', '.join(entries)}")
        return entries[stage]

    def score(self, stage: str, domain: str) -> Share:
        """Return a stage's held-out score; tasks that got none are not counted."""
        if stage not in self.nodes:
            raise FigureMissing(f"model {stage!r} is from outside the recipe and has no score: start from a stage")
        entry = self.stage(stage)
        if domain not in entry["scores"]:
            raise FigureMissing(f"stage {stage!r} has no score on {domain!r}: has it `evaluate: false`?")
        counts = [entry["metrics"].get(f"evaluation/{name}/{domain}") for name in ("tasks", "abstained", "errors")]
        if None in counts:
            raise FigureMissing(f"stage {stage!r} does not say how many tasks of {domain!r} were judged")
        return Share(entry["scores"][domain], int(counts[0] - counts[1] - counts[2]))

    def domains(self, stage: str) -> list[str]:
        """Return the domains that a stage learns: its own, and those that its data was made in."""
        node = self.nodes[stage]
        sources = [domain for source in node.inputs.get("data_from", []) for domain in self.domains(source)]
        return list(dict.fromkeys([*node.domains, *sources]))

    def scored(self, stage: str) -> list[str]:
        """Return the domains that a stage learns and is scored in."""
        scores = self.stage(stage)["scores"]
        found = [domain for domain in self.domains(stage) if domain in scores]
        if not found:
            raise FigureMissing(f"stage {stage!r} has a score on none of its domains")
        return found

    def start(self, stage: str) -> str:
        """Return the model that a stage starts from."""
        models = self.nodes[stage].inputs.get("init_from")
        if not models:
            raise FigureMissing(f"stage {stage!r} starts from no model, so that there is no score before it")
        return models[0]

    def scored_start(self, stage: str) -> str:
        """Return the nearest model that a stage descends from and that the recipe evaluates."""
        model = self.start(stage)
        while model in self.nodes and not self.nodes[model].evaluate:
            model = self.start(model)
        return model

    def metric(self, stage: str, name: str, *, first: bool = False) -> float:
        """Return a metric of a stage's last step, or of its first one."""
        steps = self.metrics.get(stage, ())
        if not steps or name not in steps[0 if first else -1]:
            which = "first" if first else "last"
            raise FigureMissing(f"stage {stage!r}: the {which} step has no metric {name!r}")
        return float(steps[0 if first else -1][name])


def read_run(path: Path) -> FinishedRun:
    """Read a run's directory."""
    directory = RunDirectory.open(path)
    report = read_object(path / REPORT)
    store = open_store(directory.store_location())
    stages = [entry["id"] for entry in report["stages"]]
    finished = [entry for entry in report["stages"] if entry["status"] in ("completed", "cached")]
    return FinishedRun(
        report,
        {node.id: node for node in Expansion(load_recipe(path / RECIPE)).nodes},
        {stage: read_metrics(directory.stage(stage) / "metrics.jsonl") for stage in stages},
        {stage: rows for stage in stages if (rows := _rows(directory.stage(stage) / "data"))},
        {stage: (directory.status(stage) or {}).get("teacher_scores", {}) for stage in stages},
        {entry["id"]: store.outcome(entry["fingerprint"])["seconds"] for entry in finished},
    )


def _rows(folder: Path) -> dict[str, int]:
    """Return how many rows each data file of a folder has."""
    return {path.stem: path.read_bytes().count(b"\n") for path in sorted(folder.glob("*.jsonl"))}
