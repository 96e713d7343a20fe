"""Options of the executor `slurm`."""

from __future__ import annotations

import fnmatch
import re
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from collegium import Config, ExecutorConfig

OWNER = "collegium-slurm"
OURS = (
    "array", "chdir", "clusters", "cpus-per-task", "error", "export", "job-name", "no-requeue", "nodes", "ntasks",
    "ntasks-per-node", "open-mode", "output", "parsable", "requeue", "wait", "wrap",
)  # fmt: skip
"""Arguments of sbatch that the executor sets itself, or cannot work with."""
SHORT = {
    "-D": "chdir", "-J": "job-name", "-M": "clusters", "-N": "nodes", "-W": "wait", "-a": "array",
    "-c": "cpus-per-task", "-e": "error", "-n": "ntasks", "-o": "output",
}  # fmt: skip
"""Short names of those."""
LONG_FORM = re.compile(r"--(?P<name>[a-z][a-z0-9-]*)(=.*)?")
SHORT_FORM = re.compile(r"-[ABCFGLSbdmpqtwx][^\s=].*")
"""A short option with its value; one without could be bundled with others, and hide one of ours."""


def _arguments(values: list[str]) -> list[str]:
    for value in values:
        _printable(value)
        if value[:2] in SHORT:
            raise ValueError(f"{value!r} is set by the executor ({SHORT[value[:2]]}); take it out")
        long = LONG_FORM.fullmatch(value)
        if long:
            _refuse_ours(value, long["name"])
        elif not SHORT_FORM.fullmatch(value):
            raise ValueError(
                f"{value!r} is no argument of sbatch as expected here; write each as one text: '--NAME=VALUE', such as "
                "'--constraint=a100', or '-XVALUE', such as '-pgpu'"
            )
    return values


def _refuse_ours(value: str, name: str) -> None:
    """Refuse a long option that is the executor's, also abbreviated: sbatch completes it."""
    meant = [ours for ours in OURS if ours.startswith(name)]
    if meant:
        how = "is" if name in meant else "could stand for --" + " or --".join(meant) + ", which is"
        raise ValueError(f"{value!r} {how} set by the executor; take it out, or write the option's name in full")


def _printable(value: str) -> str:
    if not value.isprintable():
        raise ValueError(f"{value!r} has a control character, such as a line's end, in it; take it out")
    return value


def _lines(values: list[str]) -> list[str]:
    for value in values:
        if len(value.splitlines()) > 1:
            raise ValueError("write each line of setup as an item of its own")
        _printable(value.replace("\t", " "))
    return values


Printable = Annotated[str, AfterValidator(_printable)]


class Request(Config):
    """What one stage's job asks for; None leaves it to the cluster's default."""

    partition: Printable | None = None
    """Partition."""
    account: Printable | None = None
    """Account that is charged."""
    time_minutes: int | None = Field(default=None, ge=1)
    """Time limit in minutes. A job that reaches it is submitted again and goes on from its last checkpoint."""
    gpus_per_node: int | None = Field(default=None, ge=0, le=1024)
    """GPUs on each node."""
    cpus_per_task: int | None = Field(default=None, ge=1, le=4096)
    """CPU cores on each node. Default: the recipe's `threads` for each of the stage's processes there."""
    memory_gb: int | None = Field(default=None, ge=1)
    """Main memory of each node in GiB."""
    extra: Annotated[list[str], AfterValidator(_arguments)] = []
    """Further arguments of sbatch, each as one text, such as ``--constraint=a100``."""

    def under(self, more: Request) -> Request:
        """Return this request with what `more` states laid over it; extra arguments add up."""
        stated = {name: value for name, value in more.model_dump().items() if value is not None and name != "extra"}
        return self.model_copy(update={**stated, "extra": [*self.extra, *more.extra]})


class SlurmConfig(Request, ExecutorConfig):
    """Options of the executor `slurm`."""

    starts_every_machine: ClassVar[bool] = True

    per_stage: dict[str, Request] = {}
    """Stage id, or a pattern such as ``teacher-*``, to what differs for it; an id goes over a pattern."""
    setup: Annotated[list[str], AfterValidator(_lines)] = []
    """Lines of shell that each job runs before its worker, such as ``module load cuda``."""
    python: Printable | None = None
    """The Python of the nodes. Default: this process's, at the same path."""
    parallel: int = Field(default=16, ge=1, le=1024)
    """Stages that are submitted at once."""
    poll_s: float = Field(default=10.0, ge=0.05, le=3600)
    """Seconds between looks at a job's state and events."""
    retries: int = Field(default=2, ge=0, le=1000)
    """Times that a stage is submitted again after its node failed, or it was preempted, timed out or killed."""
    settle_s: float = Field(default=60.0, ge=0, le=3600)
    """Seconds that the file system may take to show the run what a job wrote at its end."""
    abandoned_minutes: int = Field(default=30, ge=0, le=100_000)
    """A job ends itself when the run has not looked at it for so long: it was killed. 0: never."""

    def of_stage(self, stage: str) -> Request:
        """Return what a stage asks for: the defaults, under matching patterns in their order, under its own id."""
        found = Request(**{name: getattr(self, name) for name in Request.model_fields})
        for pattern, more in self.per_stage.items():
            if pattern != stage and fnmatch.fnmatchcase(stage, pattern):
                found = found.under(more)
        return found.under(self.per_stage[stage]) if stage in self.per_stage else found
