"""The run's trackers, guarded: one that fails is reported and switched off."""

from __future__ import annotations

import logging
from collections.abc import Callable

from collegium.job import StageEvent
from collegium.kinds.tracker import Tracker
from collegium.planning.plan import Plan

logger = logging.getLogger(__name__)


class Trackers:
    """Passes the run's metrics to every tracker of the recipe."""

    def __init__(self, plan: Plan) -> None:
        self._recipe = plan.loaded.resolved
        self._trackers: dict[str, Tracker] = {
            use.use: plan.registry.build("tracker", use.use, use.options) for use in plan.trackers
        }

    def start(self, directory: str) -> None:
        """Begin a run."""
        self._each(lambda tracker: tracker.start(directory, self._recipe))

    def log(self, event: StageEvent) -> None:
        """Pass on a step's metrics."""
        if event.kind == "step":
            self._each(lambda tracker: tracker.log(event.stage, event.step, event.metrics))

    def finish(self, status: str) -> None:
        """End the run."""
        self._each(lambda tracker: tracker.finish(status))

    def _each(self, call: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._trackers.items()):
            try:
                call(tracker)
            except Exception as error:
                logger.warning("tracker %s is switched off: %s: %s", name, type(error).__name__, error)
                del self._trackers[name]
