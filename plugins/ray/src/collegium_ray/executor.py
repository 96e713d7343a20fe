"""The executor `ray`: each job is a task of a Ray cluster."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from collegium import CollegiumError, Executor, PluginError
from collegium.builtin_components.executors import STOPPED
from collegium.job import StageEvent, StageJob, StageOutcome
from collegium.kinds.executor import Listener
from collegium_ray.cluster import Cluster
from collegium_ray.config import OWNER, RayConfig
from collegium_ray.resources import fits, in_words, slots, task_options, wanted
from collegium_ray.shared_folder import write_token
from collegium_ray.task import run_on_node

WORKER_DIED = "WorkerDied"
DEATHS = (WORKER_DIED, "RankDied")
"""Outcomes of a worker, or of its ranks, that died: they say nothing against the stage."""
GRACE_S = 15.0
"""Seconds that a cancelled task may take to stop its worker before its process is killed."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A worker that is gone with its process or node, and how that was noticed."""

    how: str


class RayExecutor(Executor):
    """Run each stage as a task that asks for resources; a lost worker is started again and resumes."""

    Config = RayConfig

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self._cluster: Cluster | None = None
        self._guard = threading.Lock()
        self._tasks: set[Any] = set()
        self._closed = False

    @property
    def slots(self) -> int:
        """Stages that run at once."""
        return slots(self.config, self._connected().nodes())

    def _connected(self) -> Cluster:
        with self._guard:
            if self._cluster is None:
                self._cluster = Cluster(self.config)
            return self._cluster

    def execute(self, job: StageJob, listener: Listener) -> StageOutcome:
        """Run one job; start it again, from its checkpoint, when its worker or node dies."""
        started = time.monotonic()
        try:
            return self._persist(job, listener)
        except CollegiumError as error:
            seconds = time.monotonic() - started
            return _failed(job, type(error).__name__, str(error), seconds, error.owner)

    def _persist(self, job: StageJob, listener: Listener) -> StageOutcome:
        cluster = self._connected()
        options = self._options(cluster, job)
        started, retries = time.monotonic(), self.config.retries
        ended = self._attempt(cluster, job, options, listener)
        for attempt in range(1, retries + 1):
            if isinstance(ended, StageOutcome):
                break
            again = f"started again from its last checkpoint ({attempt} of {retries})"
            listener(StageEvent(stage=job.id, kind="message", text=f"{ended.how}; {again}"))
            ended = self._attempt(cluster, job, options, listener)
        if isinstance(ended, StageOutcome):
            return ended
        times = f"after {retries + 1} starts " if retries else ""
        return _failed(job, WORKER_DIED, f"{times}{ended.how}", time.monotonic() - started)

    def _options(self, cluster: Cluster, job: StageJob) -> dict[str, Any]:
        """Return the task's options.

        Raises:
            PluginError: If no node can ever hold it.
        """
        if job.train and job.launch.nodes > 1:
            raise PluginError(
                f"stage {job.id!r} is launched over {job.launch.nodes} nodes; the executor ray runs a stage on one",
                fix="launch: {nodes: 1}, or the executor slurm",
                owner=OWNER,
            )
        nodes = cluster.nodes()
        asked = wanted(self.config, job, nodes)
        if not self.config.autoscaling and not any(fits(asked, node) for node in nodes):
            offers = "; ".join(in_words(node) for node in nodes)
            raise PluginError(
                f"stage {job.id!r} asks for {in_words(asked)}, and no node of the cluster has that; "
                f"nodes have: {offers}",
                fix=f"per_stage: {{{job.id}: {{cpus: ..., gpus: ...}}}}, add a node, or autoscaling: true",
                owner=OWNER,
            )
        return task_options(asked)

    def _attempt(
        self, cluster: Cluster, job: StageJob, options: dict[str, Any], listener: Listener
    ) -> StageOutcome | Lost:
        token = write_token(Path(job.directory))
        try:
            stream = self._submit(cluster, job, options, token)
            return _stopped(job) if stream is None else self._attend(cluster, job, stream, listener)
        finally:
            token.unlink(missing_ok=True)

    def _submit(self, cluster: Cluster, job: StageJob, options: dict[str, Any], token: Path) -> Any:
        """Hand the job to the cluster; None once the executor is closed."""
        arguments = (job.model_dump_json(), str(token), self._surroundings())
        task = cluster.ray.remote(max_retries=0, num_returns="streaming")(run_on_node)
        with self._guard:
            if self._closed:
                return None
            stream = task.options(name=f"collegium {job.id}", **options).remote(*arguments)
            self._tasks.add(stream)
            return stream

    def _attend(self, cluster: Cluster, job: StageJob, stream: Any, listener: Listener) -> StageOutcome | Lost:
        try:
            return self._follow(cluster, job, stream, listener)
        except BaseException:  # an interrupt, or a listener's error: the task must not go on unattended
            _cancel(cluster, [stream])
            raise
        finally:
            with self._guard:
                self._tasks.discard(stream)

    def _surroundings(self) -> dict[str, Any]:
        missing = [name for name in self.config.pass_env if name not in os.environ]
        if missing:
            raise PluginError(
                f"pass_env names {missing[0]!r}, which is not set in this process",
                fix=f"export {missing[0]}=..., or take it out of pass_env",
                owner=OWNER,
            )
        environment = {name: os.environ[name] for name in self.config.pass_env}
        return {"folder": os.getcwd(), "environment": environment, "version": metadata.version("collegium")}

    def _follow(self, cluster: Cluster, job: StageJob, stream: Any, listener: Listener) -> StageOutcome | Lost:
        """Pass on a task's events and return its outcome, or that it was lost."""
        try:
            for reference in stream:
                message = json.loads(cluster.ray.get(reference))
                if "status" in message:
                    return self._judge(job, StageOutcome.model_validate(message))
                listener(StageEvent.model_validate(message))
        except cluster.exceptions.TaskCancelledError:
            return _stopped(job) if self._closed else Lost("its task was cancelled from outside")
        except cluster.losses as error:
            return _stopped(job) if self._closed else Lost(f"its node or process died: {_first_line(error)}")
        except cluster.exceptions.RayError as error:
            return _stopped(job) if self._closed else _broken(job, error)
        return Lost("its task ended without an outcome")

    def _judge(self, job: StageJob, outcome: StageOutcome) -> StageOutcome | Lost:
        if self._closed and outcome.status == "failed":
            return _stopped(job)
        return Lost(outcome.problem) if outcome.kind in DEATHS else outcome

    def close(self) -> None:
        """Cancel the tasks, which kill their workers with all that they started, and disconnect."""
        with self._guard:
            self._closed = True
            running = list(self._tasks)
            cluster = self._cluster
        if cluster is not None and cluster.is_connected:
            _cancel(cluster, running)
            if not running:
                cluster.close()


def _cancel(cluster: Cluster, streams: list[Any]) -> None:
    """Ask tasks to stop their workers; kill the processes of those that have not done so in time."""
    for force, patience in ((False, GRACE_S), (True, GRACE_S)):
        for stream in streams:
            with contextlib.suppress(cluster.exceptions.RayError):
                cluster.ray.cancel(stream, force=force)
        ends = [stream.completed() for stream in streams]
        _, running = cluster.ray.wait(ends, num_returns=len(ends), timeout=patience) if ends else ([], [])
        streams = [stream for stream in streams if stream.completed() in running]
        if not streams:
            return


def _broken(job: StageJob, error: Exception) -> StageOutcome:
    """Return the outcome of a task that Ray could not run, such as on a node that lacks this package."""
    fix = "each node needs the same packages: pip install 'collegium-ray[ray]' and the recipe's plugins there"
    return _failed(job, type(error).__name__, f"Ray could not run its task: {_last_line(error)}; {fix}", 0.0, OWNER)


def _stopped(job: StageJob) -> StageOutcome:
    return _failed(job, STOPPED, "the run stopped it; its last checkpoint is kept", 0.0)


def _failed(job: StageJob, kind: str, problem: str, seconds: float, owner: str | None = None) -> StageOutcome:
    return StageOutcome(stage=job.id, status="failed", seconds=seconds, kind=kind, problem=problem, owner=owner)


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _last_line(error: BaseException) -> str:
    return next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
