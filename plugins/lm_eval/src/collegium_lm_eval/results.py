"""What the harness returns, as metrics and as a report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

KEPT = ("results", "groups", "versions", "n-shot", "higher_is_better", "n-samples", "configs")
"""Parts of the harness's results that the report keeps; the rest is about the machine and the clock."""


def metrics_of(results: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return ``lm-eval/TASK/METRIC`` (with ``,FILTER`` unless it is ``none``) to its value, errors too."""
    return {
        f"lm-eval/{task}/{name.removesuffix(',none')}": float(value)
        for task, found in results.items()
        for name, value in found.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and "," in name
    }


def report_of(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the kept parts as JSON; what is no JSON (functions in a task's options) is told by its name."""
    plain: dict[str, Any] = _plain({name: found[name] for name in KEPT if name in found})
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return getattr(value, "__name__", type(value).__name__)
