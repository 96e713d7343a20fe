"""Options of the executor `ray` (light: Ray is not imported)."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Annotated

from packaging.version import Version
from pydantic import Field, field_validator

from collegium import Config, PluginError

OWNER = "collegium-ray"
OLDEST = "2.50"
"""The oldest version of Ray that is known to work."""
INSTALL = "pip install 'collegium-ray[ray]'"

Amount = Annotated[float, Field(ge=0, le=100_000)]


class Resources(Config):
    """What one stage's task asks of its node; None takes the default."""

    cpus: Amount | None = None
    """CPU cores. Default: the recipe's `threads` for each of the stage's processes."""
    gpus: Amount | None = None
    """GPUs. Default: one for each of the stage's processes where the cluster has GPUs, else none."""
    memory_gb: Amount | None = None
    """Main memory in GiB. Default: not asked for."""
    custom: dict[str, Amount] = {}
    """Custom resources by the names that the cluster's nodes declare."""

    def under(self, more: Resources) -> Resources:
        """Return these resources with those that `more` states laid over them."""
        stated = {name: value for name, value in more.model_dump().items() if value is not None and name != "custom"}
        return self.model_copy(update={**stated, "custom": {**self.custom, **more.custom}})


class RayConfig(Resources):
    """Options of the executor `ray`."""

    address: str = "auto"
    """``auto``: the cluster that this machine belongs to; ``HOST:PORT``: that one; ``local``: start one here."""
    local_cpus: int | None = Field(default=None, ge=1, le=4096)
    """With ``address: local``: CPU cores that it offers. Default: this machine's."""
    per_stage: dict[str, Resources] = {}
    """Stage id, or a pattern such as ``teacher-*``, to what differs for it; an id goes over a pattern."""
    parallel: int | None = Field(default=None, ge=1, le=1024)
    """Stages that run at once. Default: as many of the default size as the cluster has room for, at most 64."""
    retries: int = Field(default=2, ge=0, le=100)
    """Times that a stage is started again after its worker or node died; it goes on from its last checkpoint."""
    pass_env: list[str] = []
    """Names of environment variables that workers get from this process; their values are written nowhere."""
    autoscaling: bool = False
    """The cluster grows on demand: wait for a node that is large enough rather than fail if none is there."""

    @field_validator("address")
    @classmethod
    def _no_client(cls, value: str) -> str:
        if value.startswith("ray://"):
            raise ValueError(
                "a Ray Client address (ray://) does not do: run on a node of the cluster, with address: auto, "
                "or give HOST:PORT of its head"
            )
        return value

    def of_stage(self, stage: str) -> Resources:
        """Return what a stage asks for: the defaults, under matching patterns in their order, under its own id."""
        found = Resources(**{name: getattr(self, name) for name in Resources.model_fields})
        for pattern, more in self.per_stage.items():
            if pattern != stage and fnmatch.fnmatchcase(stage, pattern):
                found = found.under(more)
        return found.under(self.per_stage[stage]) if stage in self.per_stage else found

    def content_paths(self) -> Sequence[Path]:
        """Return no file; the plan asks, and so a recipe is refused before it runs where Ray is missing."""
        require_ray()
        return ()


def require_ray() -> None:
    """Check that Ray is installed, without importing it.

    Raises:
        PluginError: If it is missing or too old.
    """
    try:
        found = metadata.version("ray")
    except metadata.PackageNotFoundError:
        raise PluginError("the executor ray needs Ray, which is not installed", fix=INSTALL, owner=OWNER) from None
    if Version(found) < Version(OLDEST):
        raise PluginError(
            f"the executor ray needs Ray {OLDEST} or newer; {found} is installed",
            fix=f"{INSTALL} --upgrade",
            owner=OWNER,
        )
