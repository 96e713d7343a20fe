"""Options of the stage `audit` (light)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from collegium.component import UseVerifier
from collegium.kinds.stage import Artifact, Edge, StageConfig


class AuditConfig(StageConfig):
    """Audit a verifier before (or beside) the stages that trust it."""

    requires: ClassVar[frozenset[Edge]] = frozenset()
    produces: ClassVar[Artifact] = "report"

    verifier: UseVerifier
    """The verifier, with the options that the recipe trains with."""
    cases: Path
    """Labelled cases (JSON Lines)."""
    threshold: float = Field(default=1.0, ge=0, le=1)
    """Score from which a verdict passes."""
    fail_under: float = Field(default=1.0, ge=0, le=1)
    """Agreement with the labels below which the run stops."""
    most_exploits: int = Field(default=0, ge=0)
    """Probes (completions that answer nothing) that may pass before the run stops."""
    perturb: int = Field(default=200, ge=0)
    """Right answers that are rewritten, at most."""
    exploits: int = Field(default=20, ge=0)
    """Tasks that are probed, at most."""

    def content_paths(self) -> Sequence[Path]:
        """Return the file of cases."""
        return (self.cases,)
