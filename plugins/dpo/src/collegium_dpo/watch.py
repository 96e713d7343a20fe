"""The known failure of preference losses: both completions become unlikely, the rejected one only faster."""

from __future__ import annotations

from collections.abc import Mapping

from collegium.training.context import StageContext


class CollapseWatch:
    """Mark the steps at which the chosen completions have become unlikely, and say so once.

    Args:
        context: Told of the first such step.
        most: How far, in nats per token, a batch's chosen log-prob may lie below the reference's.
    """

    def __init__(self, context: StageContext, most: float) -> None:
        self.context = context
        self.most = most
        self._warned = False

    def __call__(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Return the metric ``chosen_collapsed``, 0 or 1, of a step."""
        drop = -metrics["chosen_change"] / metrics["chosen_tokens"]
        if drop > self.most and not self._warned:
            self._warned = True
            self.context.message(
                f"warning: the chosen completions lie {drop:.2f} nats per token below the reference; raise beta, lower "
                "lr, or add nll to the loss"
            )
        return {"chosen_collapsed": float(drop > self.most)}
