"""Options: which environment."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from collegium import Config, ConfigError


class EnvironmentConfig(Config):
    """An environment."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"environment": "collegium_environments"}]})

    environment: Annotated[str, Field(pattern=r"^([\w.-]+/)?[A-Za-z_][\w-]*$")]
    """Its id, as `verifiers.load_environment` takes it; the package must be installed, or on PYTHONPATH."""
    arguments: dict[str, Any] = {}
    """Keyword arguments of its `load_environment`."""

    @property
    def module(self) -> str:
        """The top-level module that an environment's id stands for."""
        return self.environment.rpartition("/")[2].replace("-", "_")

    def content_paths(self) -> Sequence[Path]:
        """Return the environment's code, found without importing it; it is part of the fingerprint.

        Raises:
            ConfigError: If there is no such module.
        """
        spec = importlib.util.find_spec(self.module)
        if spec is None or spec.origin is None:
            raise ConfigError(
                f"environment {self.environment!r}: there is no module {self.module!r}",
                fix="install the environment's package, or put its folder on PYTHONPATH",
                owner="collegium-environments",
            )
        files = [path for place in spec.submodule_search_locations or () for path in Path(place).rglob("*")]
        kept = [path for path in files if path.is_file() and "__pycache__" not in path.parts]
        return sorted(kept) or [Path(spec.origin)]


class EnvironmentTasksConfig(EnvironmentConfig):
    """Options of the task source `environment`."""

    heldout: float = Field(default=0.1, gt=0, lt=1)
    """Share of the prompts that is held out where the environment has no evaluation set of its own."""
    seed: int = 0
    """Of that split."""


class EnvironmentVerifierConfig(EnvironmentConfig):
    """Options of the verifier `environment`."""

    scale: float = Field(default=1.0, gt=0)
    """The rubric's reward is multiplied by this; the product must lie in [0, 1]."""
