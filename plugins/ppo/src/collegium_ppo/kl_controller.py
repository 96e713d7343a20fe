"""The KL penalty's coefficient: fixed, or moved towards a target.

Source: Ziegler et al. (arXiv 1909.08593, section 2.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

GAIN = 0.1
"""The paper's ``K_beta``: what an error of 1 changes the coefficient by."""
LARGEST_ERROR = 0.2
"""The relative error is clipped to this size."""


class KlController:
    """Hold the coefficient of the KL penalty.

    Args:
        coefficient: What it starts with.
        target: KL of a completion, in nats, that it is moved towards; None leaves it as it is.
    """

    def __init__(self, coefficient: float, target: float | None = None) -> None:
        self.coefficient = coefficient
        self.target = target

    def observe(self, kl: float) -> None:
        """Take a batch's mean KL of a completion: above the target the coefficient grows, below it shrinks."""
        if self.target is not None:
            error = max(-LARGEST_ERROR, min(LARGEST_ERROR, kl / self.target - 1))
            self.coefficient *= 1 + GAIN * error

    def state_dict(self) -> dict[str, Any]:
        """Return the coefficient."""
        return {"coefficient": self.coefficient}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore it."""
        self.coefficient = float(state["coefficient"])
