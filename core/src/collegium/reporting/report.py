"""report.json: what a run did, and each domain's start, teacher, student and headroom captured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from collegium.planning.plan import Plan, PlannedStage
from collegium.reporting.html import render_html
from collegium.running.directory import HTML, REPORT, RunDirectory
from collegium.store import write_json

SCHEMA = 1


def make_report(plan: Plan, directory: RunDirectory, status: str, problem: str = "") -> dict[str, Any]:
    """Gather the stages' statuses into the report (schema 1)."""
    statuses = {stage_id: directory.status(stage_id) or {"status": "waiting"} for stage_id in plan.stages}
    report: dict[str, Any] = {
        "schema": SCHEMA,
        "recipe": plan.recipe.name,
        "profile": plan.recipe.profile,
        "seed": plan.recipe.seed,
        "status": status,
        "seconds": directory.active_seconds(),
        "rollouts": sum(found.get("rollouts", 0) for found in statuses.values()),
        "tokens_generated": sum(found.get("tokens_generated", 0) for found in statuses.values()),
        "stages": [_stage(plan.stages[stage_id], found) for stage_id, found in statuses.items()],
        "domains": {domain: _domain(plan, domain, statuses) for domain in plan.domains},
        "plugins": [
            {"distribution": record.distribution, "version": record.version, "api": record.api}
            for record in {e.record.distribution: e.record for e in plan.entries.values()}.values()
        ],
    }
    if problem:
        report["problem"] = problem
    return report


def _stage(stage: PlannedStage, found: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": stage.id,
        "use": stage.entry.id,
        "status": found["status"],
        "seconds": found.get("seconds", 0.0),
        "inputs": sorted({source for sources in stage.node.inputs.values() for source in sources}),
        "metrics": {name: value for name, value in found.get("metrics", {}).items() if not name.startswith("time/")},
        "scores": found.get("scores", {}),
        "rollouts": found.get("rollouts", 0),
        "tokens_generated": found.get("tokens_generated", 0),
        "fingerprint": stage.fingerprint,
    }


def _domain(plan: Plan, domain: str, statuses: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return one domain's row: the last stage with teachers is the student; without one, the last evaluated model."""
    scores = {
        stage_id: found["scores"][domain] for stage_id, found in statuses.items() if domain in found.get("scores", {})
    }
    keys = ("start", "teacher", "student", "headroom_captured", "tasks", "student_stage")
    row: dict[str, Any] = {"scores": scores, **dict.fromkeys(keys)}
    students = [stage for stage in plan.stages.values() if stage.teachers and domain in stage.node.domains]
    if not students:
        evaluated = list(scores.values())
        row["start"], row["student"] = (evaluated[0], evaluated[-1]) if evaluated else (None, None)
        row["student_stage"] = next(reversed(scores), None)
        return row
    student = students[-1]
    row["student_stage"] = student.id
    start_id = student.node.inputs["init_from"][0]
    row["start"], row["student"] = scores.get(start_id), scores.get(student.id)
    tasks = statuses[student.id].get("metrics", {}).get(f"evaluation/tasks/{domain}")
    row["tasks"] = None if tasks is None else int(tasks)
    components = statuses[student.id].get("teacher_scores", {})
    own = {name: found[domain] for name, found in components.items() if domain in found}
    row["teacher"] = _teacher_score(student, domain, scores, own, row["start"])
    row["headroom_captured"] = headroom_captured(row["start"], row["teacher"], row["student"])
    return row


def _teacher_score(
    student: PlannedStage, domain: str, scores: dict[str, float], own: dict[str, float], start: float | None
) -> float | None:
    """Return the routed teacher's score; of several, the best one's.

    Args:
        student: The stage that has the teachers.
        domain: The domain.
        scores: Stage to its score on the domain.
        own: The same for teachers that are components, by name, of those that the admission gate could evaluate.
        start: That of the model that the student starts from.
    """
    route = student.routes.get(domain, [])
    names = [route] if isinstance(route, str) else list(route)
    found = []
    for name in names:
        teacher = student.teachers[name]
        score = start if teacher == "self" else scores.get(teacher) if isinstance(teacher, str) else own.get(name)
        if score is not None:
            found.append(score)
    return max(found, default=None)


def headroom_captured(start: float | None, teacher: float | None, student: float | None) -> float | None:
    """Return (student - start) / (teacher - start), or None where a teacher leaves no headroom."""
    if start is None or teacher is None or student is None or teacher <= start:
        return None
    return round((student - start) / (teacher - start), 4)


def write_report(directory: RunDirectory, report: dict[str, Any]) -> None:
    """Write report.json and report.html."""
    write_json(directory.path / REPORT, report)
    text = render_html(report, {entry["id"]: _metrics(directory.stage(entry["id"])) for entry in report["stages"]})
    (directory.path / HTML).write_text(text, encoding="utf-8")


def _metrics(folder: Path) -> list[dict[str, Any]]:
    from collegium.reporting.metrics import read_metrics

    return read_metrics(folder / "metrics.jsonl")
