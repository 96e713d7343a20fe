"""Executors: where stages run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, TypeAlias

from collegium.component import Config, Configurable

if TYPE_CHECKING:
    from collegium.job import StageEvent, StageJob, StageOutcome

Listener: TypeAlias = "Callable[[StageEvent], None]"


class ExecutorConfig(Config):
    """Base of an executor's options."""

    starts_every_machine: ClassVar[bool] = False
    """Whether it starts a worker on each machine of a stage whose `launch` has several."""


class Executor(Configurable):
    """Run stage jobs. A job is plain JSON and reaches a worker by value; components are imported there by name."""

    @property
    def slots(self) -> int:
        """How many independent jobs may run at once."""
        return 1

    def execute(self, job: StageJob, listener: Listener) -> StageOutcome:
        """Run one job to its end and return its outcome; called from `slots` threads at once.

        A failure of the stage is an outcome with a cause, never an exception.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Stop what the executor started."""
