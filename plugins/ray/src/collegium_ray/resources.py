"""What a job asks for, and where it fits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from collegium.job import StageJob
from collegium_ray.config import RayConfig, Resources

GIB = 2**30
MOST = 64
"""Stages at once by default, at most: each has a thread in the run's process."""
ROUNDING = 1e-6

Node = Mapping[str, float]
"""A node's resources in total, by Ray's names: ``CPU``, ``GPU``, ``memory`` (bytes), and custom ones."""


def wanted(config: RayConfig, job: StageJob, nodes: Iterable[Node]) -> dict[str, float]:
    """Return what a job asks for, by Ray's names; what is 0 is left out."""
    stated = config.of_stage(job.id)
    processes = job.launch.processes if job.train else 1  # a job that only evaluates is one process
    gpus = processes if any(node.get("GPU", 0) for node in nodes) else 0
    return _amounts(stated, cpus=job.threads * processes, gpus=gpus)


def _amounts(stated: Resources, cpus: float, gpus: float) -> dict[str, float]:
    amounts = {
        "CPU": cpus if stated.cpus is None else stated.cpus,
        "GPU": gpus if stated.gpus is None else stated.gpus,
        "memory": float(int((stated.memory_gb or 0) * GIB)),
        **stated.custom,
    }
    return {name: float(amount) for name, amount in amounts.items() if amount}


def fits(asked: Mapping[str, float], node: Node) -> int:
    """Return how many tasks that ask for this an empty node holds; those that ask for nothing: `MOST`."""
    room = [int(node.get(name, 0) / amount + ROUNDING) for name, amount in asked.items()]
    return min([*room, MOST])


def slots(config: RayConfig, nodes: Iterable[Node]) -> int:
    """Return how many stages run at once: as stated, or as many of the default size as fit, at least one."""
    if config.parallel is not None:
        return config.parallel
    nodes = list(nodes)
    gpus = 1 if any(node.get("GPU", 0) for node in nodes) else 0
    stated = Resources(**{name: getattr(config, name) for name in Resources.model_fields})
    asked = _amounts(stated, cpus=1, gpus=gpus)
    return max(1, min(MOST, sum(fits(asked, node) for node in nodes)))


def task_options(asked: Mapping[str, float]) -> dict[str, Any]:
    """Return a Ray task's options for what it asks for."""
    named = {"CPU": "num_cpus", "GPU": "num_gpus", "memory": "memory"}
    custom = {name: amount for name, amount in asked.items() if name not in named}
    options: dict[str, Any] = {option: asked.get(name, 0) for name, option in named.items()}
    options["memory"] = int(options["memory"]) or None
    return {**options, "resources": custom or None}


def in_words(amounts: Mapping[str, float]) -> str:
    """Return amounts as text, such as ``4 CPU, 2 GPU, 16 GiB memory``."""
    return ", ".join(
        f"{amount / GIB:g} GiB memory" if name == "memory" else f"{amount:g} {name}" for name, amount in amounts.items()
    )
