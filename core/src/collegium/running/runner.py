"""The runner: drives a plan's stages through an executor, from the store where it can."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from collegium import events
from collegium.builtin_components.executors import STOPPED
from collegium.errors import CollegiumError, Problem, StoreError
from collegium.job import StageEvent, StageJob, StageOutcome
from collegium.kinds.executor import Executor
from collegium.model_files import tokenizer_hashes
from collegium.planning.fingerprint import digest, folder_digest
from collegium.planning.plan import Plan, PlannedStage
from collegium.plugins.discovery import CORE
from collegium.plugins.lifecycle import notify
from collegium.reporting.report import make_report, write_report
from collegium.running.admission import admit_teachers, routed_teachers
from collegium.running.directory import LOCK, RunDirectory
from collegium.running.jobs import make_job, teacher_config
from collegium.running.lock import make_lock
from collegium.running.tokenizers import check_teacher_tokenizers
from collegium.running.trackers import Trackers
from collegium.store import Store, write_json

ARTIFACT_FILES = ("metrics.jsonl", "samples.jsonl")


class StageFailed(CollegiumError, RuntimeError):
    """A stage ended with an error; the other stages' artifacts are kept."""


class Runner:
    """Runs a plan in a run directory."""

    def __init__(
        self, plan: Plan, directory: RunDirectory, store: Store, listener: Callable[[StageEvent], None] = lambda _: None
    ) -> None:
        self.plan = plan
        self.directory = directory
        self.store = store
        self.listener = listener
        self.lock = make_lock(plan)
        self.trackers = Trackers(plan)
        self.executor: Executor = plan.registry.build("executor", plan.executor.use, plan.executor.options)
        self.scores: dict[str, dict[str, float]] = {}
        self._teacher_scores: dict[str, dict[str, dict[str, float]]] = {}
        self._guard = threading.Lock()

    def run(self, *, resumed: bool = False) -> dict[str, Any]:
        """Run every stage and return the report.

        Raises:
            CollegiumError: If a stage fails; the report is written all the same, with status ``failed``.
        """
        path = str(self.directory.path)
        write_json(self.directory.path / LOCK, self.lock)
        self.directory.event("run-resumed" if resumed else "run-started")
        notify(self.plan.registry, "before_run", events.RunStarted(path, self.plan.loaded.resolved))
        self.trackers.start(path)
        try:
            self._run_stages()
        except BaseException as error:
            with contextlib.suppress(OSError):  # a full disk: the first error is the one to show
                self._finish("failed", str(error) or type(error).__name__)
            stage = getattr(error, "stage", None)
            notify(self.plan.registry, "on_run_error", events.RunFailed(path, stage, str(error)))
            raise
        finally:
            self.executor.close()
        report = self._finish("completed")
        notify(self.plan.registry, "after_run", events.RunFinished(path, report))
        return report

    def _finish(self, status: str, problem: str = "") -> dict[str, Any]:
        self.directory.event(f"run-{status}", **({"problem": problem} if problem else {}))
        report = make_report(self.plan, self.directory, status, problem)
        write_report(self.directory, report)
        self.trackers.finish(status)
        return report

    def _run_stages(self) -> None:
        waiting = dict(self.plan.stages)
        done: set[str] = set(self.plan.recipe.models)
        running: dict[Future[None], str] = {}
        if self.executor.slots == 1:  # in the main thread, where an interrupt reaches the stage itself
            for stage in waiting.values():
                self._run_stage(stage)
            return
        with ThreadPoolExecutor(max_workers=self.executor.slots) as pool:
            try:
                while waiting or running:
                    for stage in [s for s in waiting.values() if self._is_ready(s, done)]:
                        if len(running) < self.executor.slots:
                            running[pool.submit(self._run_stage, stage)] = stage.id
                            del waiting[stage.id]
                    finished, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in finished:
                        stage_id = running.pop(future)
                        future.result()
                        done.add(stage_id)
            except BaseException:
                self.executor.close()  # the pool waits for its threads: what they wait for must end now
                raise

    @staticmethod
    def _is_ready(stage: PlannedStage, done: set[str]) -> bool:
        return all(source in done for sources in stage.node.inputs.values() for source in sources)

    def _run_stage(self, stage: PlannedStage) -> None:
        """Take the stage from the store or make it, then see that it is evaluated."""
        started = time.monotonic()
        earlier = self.directory.status(stage.id) or {}
        cached = self._take(stage, earlier)
        scores = self.store.scores(stage.scores_fingerprint) if stage.scores_fingerprint else None
        evaluate = bool(stage.scores_fingerprint) and (scores is None or not cached)  # new weights: new scores
        if stage.teachers:  # a stored student, too: the recipe may ask more of its teachers than when it was made
            check_teacher_tokenizers(self.plan, stage, self.directory)
            self._admit(stage)
        if not cached or evaluate:
            self._announce(stage, "running")
            self._execute(stage, train=not cached, evaluate=evaluate)
        outcome = self.store.outcome(stage.fingerprint)
        if stage.scores_fingerprint:
            self.scores[stage.id] = self.store.scores(stage.scores_fingerprint) or {}
            counts = self.store.score_counts(stage.scores_fingerprint)
            outcome = {**outcome, "metrics": {**outcome["metrics"], **counts}}
        made_here = not cached or (
            earlier.get("fingerprint") == stage.fingerprint and earlier.get("status") == "completed"
        )
        seconds = earlier.get("seconds", 0.0) if cached and made_here else time.monotonic() - started
        self._complete(stage, outcome, "completed" if made_here else "cached", seconds)

    def _admit(self, stage: PlannedStage) -> None:
        """Put the stage's teachers through the gate; a model from outside the recipe is evaluated for it first."""
        job = make_job(self.plan, stage, self.directory, train=False, evaluate=True)
        scores: dict[str, dict[str, float]] = {}
        for domain, name in routed_teachers(stage):
            teacher = stage.teachers[name]
            if isinstance(teacher, str):
                scores[name] = self.scores.get(teacher, {})
            elif model := teacher_config(self.plan, job.teachers[name]).local_model():
                scores.setdefault(name, {}).update(self._evaluate(stage, job, model, domain))
        start: dict[str, float] = {}
        for source in job.inputs.get("init_from", []):
            for domain in stage.routes if source.source in self.plan.recipe.models else ():
                start |= self._evaluate(stage, job, source.path, domain)
            start |= self.scores.get(source.source, {})
        where = self.plan.loaded.sources.locate((*stage.node.path, "teachers"))
        admit_teachers(stage, start, scores, self.plan.recipe.admission, where)
        self._teacher_scores[stage.id] = {
            name: found for name, found in scores.items() if not isinstance(stage.teachers[name], str)
        }

    def _evaluate(self, stage: PlannedStage, job: StageJob, model: str, domain: str) -> dict[str, float]:
        """Evaluate a model that no stage made on one domain; its score is remembered by the model's content."""
        content = folder_digest(Path(model)) if Path(model).is_dir() else model
        key = digest([content, self.plan.domain_digests[domain], self.plan.recipe.evaluation.model_dump(mode="json")])
        scores = self.store.scores(key)
        if scores is None:
            folder = self.directory.stage(stage.id) / "admission"
            update = {
                "model": model,
                "evaluate_on": {domain: self.plan.domains[domain]},
                "directory": str(folder.resolve()),
            }
            outcome = self.executor.execute(job.model_copy(update=update), self._listen)
            if outcome.status != "completed":
                self._fail(stage, outcome)
            scores = outcome.scores
            self.store.put_scores(key, outcome)
        return scores

    def _take(self, stage: PlannedStage, earlier: dict[str, Any]) -> bool:
        """Link the artifact from the store into the run directory; a damaged one counts as absent."""
        if not self.store.has(stage.fingerprint):
            return False
        folder = self.directory.stage(stage.id)
        if self.store.holds(stage.fingerprint, folder):
            return True
        try:
            for name in ("model", "data", "checkpoints", "output"):
                shutil.rmtree(folder / name, ignore_errors=True)
            self.store.take(stage.fingerprint, folder)
        except StoreError as error:
            self.directory.event("store-damaged", stage=stage.id, problem=str(error))
            self.listener(StageEvent(stage=stage.id, kind="message", text=str(error)))
            return False
        return True

    def _announce(self, stage: PlannedStage, status: str) -> None:
        self.directory.set_status(
            stage.id, {"id": stage.id, "use": stage.entry.id, "status": status, "fingerprint": stage.fingerprint}
        )
        self.directory.event(f"stage-{status}", stage=stage.id)

    def _execute(self, stage: PlannedStage, *, train: bool, evaluate: bool) -> None:
        folder = self.directory.stage(stage.id)
        folder.mkdir(parents=True, exist_ok=True)
        if not train:  # the worker evaluates what lies in output/
            self.store.take(stage.fingerprint, folder / "output")
        job = make_job(self.plan, stage, self.directory, train=train, evaluate=evaluate)
        outcome = self.executor.execute(job, self._listen)
        if outcome.status != "completed":
            self._fail(stage, outcome)
        if train:
            files = {path.name: path for path in (folder / "output").iterdir()}
            files |= {name: folder / name for name in ARTIFACT_FILES if (folder / name).is_file()}
            remembered = outcome.model_dump(mode="json", include={"metrics", "rollouts", "tokens_generated", "seconds"})
            self.store.put(stage.fingerprint, files, remembered)
            for path in (folder / "output").iterdir():
                shutil.rmtree(folder / path.name, ignore_errors=True)
                path.rename(folder / path.name)
        if evaluate:
            self.store.put_scores(stage.scores_fingerprint, outcome)
        shutil.rmtree(folder / "output", ignore_errors=True)

    def _listen(self, event: StageEvent) -> None:
        with self._guard:
            self.trackers.log(event)
            self.listener(event)

    def _fail(self, stage: PlannedStage, outcome: StageOutcome) -> None:
        status = {"id": stage.id, "use": stage.entry.id, "fingerprint": stage.fingerprint}
        ending = "stopped" if outcome.kind == STOPPED else "failed"
        self.directory.set_status(stage.id, {**status, "status": ending, "problem": outcome.problem})
        self.directory.event("stage-failed", stage=stage.id, problem=outcome.problem)
        error = StageFailed.of(
            [
                Problem(
                    f"stage {stage.id!r} failed: {outcome.kind}: {outcome.problem}",
                    self._way_on(outcome),
                    outcome.owner,
                    self.plan.loaded.sources.locate(stage.node.path),
                )
            ]
        )
        error.stage = stage.id  # type: ignore[attr-defined]
        raise error

    def _way_on(self, outcome: StageOutcome) -> str:
        """Say how to go on: a package that is mended is another one, which a resume refuses."""
        resume, again = f"collegium resume {self.directory.path}", "run the recipe again"
        if outcome.owner in {None, CORE}:
            return f"mend it, then: {resume}"
        mend = f"mend {outcome.owner}, then {again} (finished stages come from the store)"
        if outcome.kind == "ConfigError":
            return f"mend the recipe, then {again} (finished stages come from the store)"
        if outcome.kind in ("TeacherError", "EngineError"):  # a server that was down needs no other package
            return f"if the cause lies outside the package: {resume}; if not: {mend}"
        return mend

    def _complete(self, stage: PlannedStage, outcome: dict[str, Any], status: str, seconds: float) -> None:
        self.directory.set_status(
            stage.id,
            {
                "id": stage.id,
                "use": stage.entry.id,
                "status": status,
                "fingerprint": stage.fingerprint,
                "seconds": round(seconds, 2),
                "inputs": sorted({source for sources in stage.node.inputs.values() for source in sources}),
                "metrics": outcome["metrics"],
                "scores": self.scores.get(stage.id, {}),
                "teacher_scores": self._teacher_scores.get(stage.id, {}),
                "rollouts": outcome["rollouts"],
                "tokens_generated": outcome["tokens_generated"],
            },
        )
        shutil.rmtree(self.directory.stage(stage.id) / "checkpoints", ignore_errors=True)
        with self._guard:
            self.lock["tokenizers"][stage.id] = tokenizer_hashes(self.directory.stage(stage.id) / "model")
            write_json(self.directory.path / LOCK, self.lock)
        self.directory.event(f"stage-{status}", stage=stage.id)
        self.listener(StageEvent(stage=stage.id, kind="evaluated", metrics=self.scores.get(stage.id, {}), text=status))
