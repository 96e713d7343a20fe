"""Entry point: what this distribution offers."""

from __future__ import annotations

from collections.abc import Sequence

from collegium import Component, component, hookimpl

collegium_api = 1


@hookimpl
def register_executors() -> Sequence[Component]:
    """Offer the executor `slurm`."""
    return [
        component(
            "slurm",
            "collegium_slurm.executor:SlurmExecutor",
            "Stages as Slurm jobs, on one node or several; a lost, preempted or timed-out job is submitted again.",
            config="collegium_slurm.config:SlurmConfig",
        )
    ]
