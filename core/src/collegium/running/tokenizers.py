"""Tokenizer files, compared without loading a model: as early as both sides exist."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from collegium.errors import Problem, TeacherError
from collegium.planning.plan import Plan, PlannedStage
from collegium.running.directory import RunDirectory
from collegium.running.jobs import make_job, teacher_config


def check_teacher_tokenizers(plan: Plan, stage: PlannedStage, directory: RunDirectory) -> None:
    """Compare the token->id map of each local teacher with the student's.

    Raises:
        TeacherError: If one differs; the ids of the student's tokens would mean something else to that teacher.
    """
    job = make_job(plan, stage, directory, train=True, evaluate=False)
    student = _vocabulary(Path(job.inputs["init_from"][0].path)) if job.inputs.get("init_from") else None
    problems = []
    for name, teacher in job.teachers.items():
        folder = teacher_config(plan, teacher).tokenizer_folder()
        own = _vocabulary(Path(folder)) if folder else None
        if student is None or own is None or own == student:
            continue
        differing = sorted(t for t in {*own, *student} if own.get(t) != student.get(t))
        problems.append(
            Problem(
                f"{stage.id}: teacher {name!r} has another tokenizer than the student: {len(differing)} tokens differ, "
                f"such as {differing[0]!r} (teacher {own.get(differing[0])}, student {student.get(differing[0])})",
                "distil only between models of one tokenizer",
                teacher.use.rpartition("/")[0],
                plan.loaded.sources.locate((*stage.node.path, "teachers", name)),
            )
        )
    if problems:
        raise TeacherError.of(problems)


def _vocabulary(model: Path) -> dict[str, int] | None:
    """Return token to id of a saved fast tokenizer, or None where there is none to read."""
    path = model / "tokenizer.json"
    if not path.is_file():
        return None
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    vocabulary = content["model"]["vocab"]
    if isinstance(vocabulary, list):  # unigram models list [token, score]
        vocabulary = {token: index for index, (token, _) in enumerate(vocabulary)}
    return {**vocabulary, **{token["content"]: token["id"] for token in content.get("added_tokens", [])}}
