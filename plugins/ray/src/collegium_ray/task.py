"""What runs on a node: a Ray task that holds one worker process and yields what it reports.

The worker is the one that the executor `local` starts; the kernel kills it when the task's process ends, and Ray ends
the task's process when the run's process goes.
"""

from __future__ import annotations

import os
import queue
import socket
import threading
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from collegium import CollegiumError, PluginError, StoreError
from collegium.builtin_components.executors import LocalExecutor
from collegium.job import StageEvent, StageJob, StageOutcome
from collegium_ray.config import OWNER
from collegium_ray.shared_folder import require_shared

POLL_S = 0.5
"""Seconds after which a cancelled task notices, at most."""


def run_on_node(job: str, token: str, surroundings: Mapping[str, Any]) -> Iterator[str]:
    """Run a job here; yield its events, then its outcome, each as JSON.

    Args:
        job: The job as JSON.
        token: A file that the run wrote into the job's folder.
        surroundings: The run's ``folder``, ``environment`` and ``version`` of collegium.
    """
    found = StageJob.model_validate_json(job)
    node = socket.gethostname()
    try:
        require_shared(Path(token), node)
        _enter(surroundings, node)
    except CollegiumError as error:
        yield StageOutcome(
            stage=found.id, status="failed", seconds=0, kind=type(error).__name__, problem=str(error), owner=error.owner
        ).model_dump_json()
        return
    yield StageEvent(stage=found.id, kind="message", text=f"runs on node {node}").model_dump_json()
    yield from _run(found)


def _enter(surroundings: Mapping[str, Any], node: str) -> None:
    """Take over the run's working directory and variables; refuse another version of the core."""
    version = metadata.version("collegium")
    if version != surroundings["version"]:
        raise PluginError(
            f"node {node} has collegium {version}, the run has {surroundings['version']}",
            fix="install the same packages on every node",
            owner=OWNER,
        )
    try:
        os.chdir(surroundings["folder"])
    except OSError as error:
        raise StoreError(
            f"node {node} does not have the run's working directory {surroundings['folder']!r} ({error.strerror}), "
            "from which the recipe's relative paths start",
            fix="start the run from a folder that every node mounts at the same path",
            owner=OWNER,
        ) from error
    os.environ.update(surroundings["environment"])


def _run(job: StageJob) -> Iterator[str]:
    """Hold the worker from a thread, so that a cancelled task can stop it."""
    said: queue.Queue[StageEvent | StageOutcome] = queue.Queue()
    local = LocalExecutor()
    holder = threading.Thread(target=lambda: said.put(_outcome(local, job, said)), name="worker-holder")
    holder.start()
    try:
        while True:
            try:
                message = said.get(timeout=POLL_S)  # short waits: a cancellation arrives between them
            except queue.Empty:
                continue
            yield message.model_dump_json()
            if isinstance(message, StageOutcome):
                return
    finally:
        local.close()
        holder.join()


def _outcome(local: LocalExecutor, job: StageJob, said: queue.Queue[StageEvent | StageOutcome]) -> StageOutcome:
    try:
        return local.execute(job, said.put)
    except Exception as error:  # the folder is full, the worker cannot be started: the stage failed
        problem = f"{type(error).__name__}: {error}"
        return StageOutcome(stage=job.id, status="failed", seconds=0, kind=type(error).__name__, problem=problem)
