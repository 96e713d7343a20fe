"""The task source `environment`."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from collegium import DataError, Message, Split, Task, TaskSource
from collegium_environments.config import EnvironmentTasksConfig
from collegium_environments.library import OWNER, load


class EnvironmentTasks(TaskSource):
    """The rows of an environment's data set; held out is its evaluation set, or else a seeded share of the prompts."""

    Config = EnvironmentTasksConfig
    verifier = "environment"

    def tasks(self, split: Split) -> Sequence[Task]:
        """Return the tasks of a split; a training row whose prompt is held out is left out.

        Raises:
            DataError: If the data set is missing, or a prompt is no text.
        """
        train, heldout = self._split()
        return heldout if split == "heldout" else train

    def files(self) -> Sequence[Path]:
        """Return the environment's code."""
        config: EnvironmentTasksConfig = self.config
        return config.content_paths()

    def _split(self) -> tuple[list[Task], list[Task]]:
        environment = load(self.config)
        try:
            rows = [*environment.get_dataset()]
            evaluation = environment.build_eval_dataset()
        except Exception as error:
            raise DataError(
                f"environment {self.config.environment!r} has no data set: {type(error).__name__}: {error}",
                fix="put its data where it looks for it",
                owner=OWNER,
            ) from error
        tasks = [_task(row, f"train-{index}") for index, row in enumerate(rows)]
        if evaluation is not None:
            heldout = [_task(row, f"eval-{index}") for index, row in enumerate(evaluation)]
            prompts = {task.prompt_text for task in heldout}
        else:
            prompts = self._chosen(tasks)
            heldout = [task for task in tasks if task.prompt_text in prompts]
        return [task for task in tasks if task.prompt_text not in prompts], heldout

    def _chosen(self, tasks: Sequence[Task]) -> set[str]:
        """Return the prompts that are held out: at least one, and not all."""
        prompts = sorted({task.prompt_text for task in tasks})
        random.Random(self.config.seed).shuffle(prompts)
        return set(prompts[: min(max(1, round(self.config.heldout * len(prompts))), len(prompts) - 1)])


def _task(row: dict[str, Any], name: str) -> Task:
    prompt = row["prompt"]
    turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else [dict(turn) for turn in prompt]
    if not all(isinstance(turn.get("content"), str) for turn in turns):
        raise DataError(f"{name}: a prompt's content must be text", fix="images are not supported", owner=OWNER)
    messages = tuple(Message(role=turn["role"], content=turn["content"]) for turn in turns)
    info = row.get("info")
    kept = {**row, "info": json.loads(info) if isinstance(info, str) and info else info or {}}
    kept["prompt"] = list(messages)
    try:
        data = json.loads(json.dumps(kept))
    except TypeError as error:
        raise DataError(f"{name}: a row must be JSON: {error}", owner=OWNER) from error
    answer = row.get("answer")
    return Task(name, messages, str(answer) if answer is not None else None, {"row": data})
