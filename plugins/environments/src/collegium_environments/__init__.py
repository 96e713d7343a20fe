"""Single-turn environments of the verifiers library, as tasks and their verifier."""

from __future__ import annotations

from typing import Any


def load_environment(size: int = 12) -> Any:
    """Return a small environment, sums of two numbers: the id ``collegium_environments``, for a first try.

    Args:
        size: Numbers below this are added.
    """
    from collegium_environments.sums import sums

    return sums(size)
