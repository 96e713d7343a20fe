"""Trackers: send metrics elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

from collegium.component import Configurable


class Tracker(Configurable):
    """Receive the run's metrics. A tracker that fails is reported and switched off; it never stops a run."""

    def start(self, run: str, recipe: Mapping[str, object]) -> None:
        """Begin a run: its directory and the resolved recipe."""

    def log(self, stage: str, step: int, metrics: Mapping[str, float]) -> None:
        """Take one step's metrics of one stage."""
        raise NotImplementedError

    def finish(self, status: str) -> None:
        """End the run: ``completed`` or ``failed``."""
