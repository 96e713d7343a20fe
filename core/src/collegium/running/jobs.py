"""Jobs from planned stages: paths filled in, everything plain JSON."""

from __future__ import annotations

from pathlib import Path

from collegium.component import Use
from collegium.job import InputArtifact, StageJob
from collegium.kinds.stage import Edge
from collegium.kinds.teacher import TeacherConfig
from collegium.planning.plan import CHECKPOINT_TEACHER, Plan, PlannedStage
from collegium.running.directory import RunDirectory


def make_job(plan: Plan, stage: PlannedStage, directory: RunDirectory, *, train: bool, evaluate: bool) -> StageJob:
    """Return the job of a stage whose inputs are complete in the run directory."""
    recipe = plan.recipe
    inputs: dict[Edge, list[InputArtifact]] = {
        edge: [InputArtifact(source=source, path=_artifact(plan, source, directory)) for source in sources]
        for edge, sources in stage.node.inputs.items()
        if edge != "teachers"
    }
    return StageJob(
        id=stage.id,
        fingerprint=stage.fingerprint,
        use=stage.entry.id,
        options=stage.options,
        seed=stage.seed,
        domain=stage.node.domain,
        domains={name: plan.domains[name] for name in stage.node.domains},
        evaluate_on=plan.domains if evaluate else {},
        evaluation=recipe.evaluation,
        errors=recipe.errors,
        inputs=inputs,
        teachers={name: _teacher(plan, stage, teacher, directory) for name, teacher in stage.teachers.items()},
        directory=str(directory.stage(stage.id).resolve()),
        checkpoint_every=recipe.checkpoint_every,
        threads=recipe.threads,
        launch=stage.node.launch,
        train=train,
        blocked=tuple(record.distribution for record in plan.registry.records if record.status == "blocked"),
    )


def teacher_config(plan: Plan, teacher: Use) -> TeacherConfig:
    """Return a teacher's options as its component reads them."""
    config = plan.registry.find("teacher", teacher.use).config_class().model_validate(teacher.options)
    return config if isinstance(config, TeacherConfig) else TeacherConfig()


def _artifact(plan: Plan, source: str, directory: RunDirectory) -> str:
    """Return where an input lies: a stage's artifact in the run directory, or a model's own path."""
    if source not in plan.stages:
        path = Path(plan.recipe.models[source].path)
        return str(path.resolve()) if path.exists() else plan.recipe.models[source].path
    folder = "data" if plan.stages[source].config.produces == "data" else "model"
    return str((directory.stage(source) / folder).resolve())


def _teacher(plan: Plan, stage: PlannedStage, teacher: str | Use, directory: RunDirectory) -> Use:
    if isinstance(teacher, Use):
        return teacher
    source = stage.node.inputs["init_from"][0] if teacher == "self" else teacher
    return Use(use=CHECKPOINT_TEACHER, options={"path": _artifact(plan, source, directory)})
