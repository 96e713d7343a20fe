"""What changes from step to step: components that look at each finished step and keep a state in the checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from collegium.component import Configurable


class Adaptive(Configurable):
    """Base of the kinds whose components may adapt: losses, advantages and reward sources. Default: they do not."""

    def after_step(self, step: int, metrics: Mapping[str, float]) -> Mapping[str, float]:
        """Look at a finished step, and return figures of its own for the journal.

        Called on every rank with the same numbers, before the checkpoint; what it changes holds from the next step on.

        Args:
            step: The step's number, from 1.
            metrics: The step's metrics, such as ``entropy``, ``length`` and ``reward``.
        """
        return {}

    def state_dict(self) -> dict[str, Any]:
        """State to save with a checkpoint; plain data."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""
