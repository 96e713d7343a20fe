"""Runs written by hand, for tests of what is read from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from collegium.kinds.stage import Edge
from collegium.launch_config import LaunchConfig
from collegium.recipe.expand import StageNode
from tests.recipes.finished import FinishedRun


def entry(stage: str, use: str, scores: Mapping[str, float], tasks: int = 100, **more: Any) -> dict[str, Any]:
    """Return a stage of report.json."""
    counts = {"tasks": tasks, "abstained": 0, "errors": 0}
    metrics = {f"evaluation/{name}/{domain}": float(count) for domain in scores for name, count in counts.items()}
    found = {"id": stage, "use": use, "status": "completed", "seconds": 60.0, "scores": dict(scores)}
    return {**found, "metrics": metrics, "rollouts": 0, "tokens_generated": 0, **more}


def node(stage: str, domains: tuple[str, ...] = ("math", "code"), *, evaluate: bool = True, **edges: Any) -> StageNode:
    """Return a stage of the graph; `teachers` and every other edge by name."""
    made = StageNode(stage, "", {}, ("stages", stage), None, domains, None, evaluate, LaunchConfig(), False)
    made.teachers = edges.pop("teachers", {})
    made.inputs = {cast(Edge, edge): [each] if isinstance(each, str) else each for edge, each in edges.items()}
    return made


def run(entries: list[dict[str, Any]], nodes: list[StageNode], **more: Any) -> FinishedRun:
    """Return a finished run."""
    report = {"status": "completed", "seed": 1, "seconds": 90.0, "rollouts": 0, "tokens_generated": 0}
    seconds = {each["id"]: 60.0 for each in entries}
    graph = {each.id: each for each in nodes}
    return FinishedRun({**report, "stages": entries}, graph, **{"first_seconds": seconds, **more})
