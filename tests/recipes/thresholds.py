"""What a figure must show to hold. Every verdict of a recipe's table comes from these constants."""

from __future__ import annotations

from typing import Any

REWARD_MODEL_STANDARD_ERRORS = 3.0
"""Held-out pair accuracy lies at least this many standard errors above chance, or above the length-only guess if that
is better."""
CHOSEN_DROP = 0.5
"""Held-out chosen completions lose at most this much, in nats per token, between the first and the last step."""
RL_STANDARD_ERRORS = 2.0
"""The score on the stage's own domains lies more than this many standard errors above the score of its start."""
HEADROOM = 0.8
"""Share of the way from start to teacher that a student goes, in its worst domain."""
HEADROOM_STANDARD_ERRORS = 2.0
"""A domain has headroom where its teacher lies more than this many standard errors above the start: elsewhere a share
of the difference is a share of noise."""


def as_record() -> dict[str, Any]:
    """Return the thresholds as a record keeps them."""
    return {
        "reward_model_standard_errors": REWARD_MODEL_STANDARD_ERRORS,
        "chosen_drop": CHOSEN_DROP,
        "rl_standard_errors": RL_STANDARD_ERRORS,
        "headroom": HEADROOM,
        "headroom_standard_errors": HEADROOM_STANDARD_ERRORS,
    }
