"""A reward function in TRL's signature: a pattern to write one by, and of use where a task has a reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def exact_match(
    completions: Sequence[str | list[dict[str, str]]], reference: Sequence[str | None], **_kwargs: Any
) -> list[float | None]:
    """Return 1 where the completion is the reference, white space around both aside, else 0; None without one."""
    return [_equal(completion, gold) for completion, gold in zip(completions, reference, strict=True)]


def _equal(completion: str | list[dict[str, str]], gold: str | None) -> float | None:
    text = completion if isinstance(completion, str) else completion[-1]["content"]
    return None if gold is None else float(text.strip() == gold.strip())
