"""A batch of samples as TRL's trainer hands it to reward functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from collegium import Sample, Task
from collegium_trl_rewards.config import RESERVED, TASK_FIELDS

NOT_COLUMNS = frozenset({"prompt", "completion"})
"""Keys of a data set's row that TRL does not pass on as columns."""


def arguments_of(batch: Sequence[Sample], columns: Mapping[str, str], layout: str) -> dict[str, list[Any]]:
    """Return ``prompts``, ``completions``, ``completion_ids`` and the columns: lists, one entry per sample.

    Args:
        batch: Samples, each with a completion.
        columns: Column to the task's field or data key that it is taken from.
        layout: ``auto``, ``conversational`` or ``standard``.

    Raises:
        ValueError: If the tasks' data has a key that is an argument's name.
        LookupError: If a column is in no task of the batch.
    """
    pairs = [_pair(sample, layout) for sample in batch]
    return {
        "prompts": [prompt for prompt, _ in pairs],
        "completions": [completion for _, completion in pairs],
        "completion_ids": [list(sample.completion.token_ids) if sample.completion else [] for sample in batch],
        **_columns([sample.task for sample in batch], columns),
    }


def _pair(sample: Sample, layout: str) -> tuple[Any, Any]:
    """Return prompt and completion, both as text or both as messages."""
    prompt, text = sample.task.prompt, sample.completion.text if sample.completion else ""
    if layout == "standard" or (layout == "auto" and isinstance(prompt, str)):
        return sample.task.prompt_text, text
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else [dict(turn) for turn in prompt]
    return messages, [{"role": "assistant", "content": text}]


def _columns(tasks: Sequence[Task], renamed: Mapping[str, str]) -> dict[str, list[Any]]:
    """Return the columns; where some task lacks one, its entry is None, as in a table that was put together."""
    keys = {key for task in tasks for key in task.data} - NOT_COLUMNS
    if taken := sorted(keys & RESERVED):
        raise ValueError(f"the tasks' data has {taken[0]!r}, which is the name of an argument of reward functions")
    missing = sorted(set(renamed.values()) - keys - set(TASK_FIELDS))
    if missing:
        raise LookupError(f"no task of the batch has {missing[0]!r}; there is {', '.join(sorted(keys)) or 'no data'}")
    sources = {"reference": "reference", **{key: key for key in sorted(keys)}, **renamed}
    return {name: [_value(task, source) for task in tasks] for name, source in sources.items()}


def _value(task: Task, source: str) -> Any:
    """Return a data key if the task has it, else the field of that name."""
    if source in task.data:
        return task.data[source]
    return getattr(task, source) if source in TASK_FIELDS else None
