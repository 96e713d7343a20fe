"""The verifier `environment`: an environment's rubric on one completion.

Source: the `verifiers` library's `Rubric.score_rollout`. Difference: a reward function that raises is an error; the
library logs it and counts zero.
"""

from __future__ import annotations

import asyncio
import copy
import importlib
from typing import Any

from collegium import Completion, Error, Score, Task, Verdict, Verifier
from collegium_environments.config import EnvironmentVerifierConfig
from collegium_environments.library import failures, load


class EnvironmentVerifier(Verifier):
    """The weighted sum of the rubric's rewards, times `scale`; each function's reward is in the details."""

    Config = EnvironmentVerifierConfig

    def verify(self, completion: Completion, task: Task) -> Verdict:
        """Score one completion; `Error` if a reward function fails or the task is not of an environment."""
        if "row" not in task.data:
            return Error(f"task {task.id!r} has no row of an environment; use the task source `environment`")
        environment = load(self.config)
        state = _state(completion, copy.deepcopy(task.data["row"]))
        found: list[str] = []
        token = failures.set(found)
        try:
            asyncio.run(environment.rubric.score_rollout(state))
        finally:
            failures.reset(token)
        if found:
            return Error(f"environment {self.config.environment}: {found[0]}")
        return Score(self.config.scale * float(state["reward"]), {"metrics": dict(state["metrics"] or {})})


def _state(completion: Completion, row: dict[str, Any]) -> Any:
    """Return the state that a rollout of one turn would have left."""
    types = importlib.import_module("verifiers.types")
    normalize = importlib.import_module("verifiers.utils.message_utils").normalize_messages
    state = types.State(input=row)
    answer = normalize([{"role": "assistant", "content": completion.text}], field_name="completion")
    state["prompt"] = normalize(row["prompt"], field_name="prompt")
    state["task"] = row.get("task", row)
    truncated = completion.finish_reason == "length"
    step = {"prompt": state["prompt"], "completion": answer, "reward": None, "advantage": None, "extras": {}}
    state.update(
        completion=answer,
        trajectory=[{**step, "response": None, "tokens": None, "is_truncated": truncated, "trajectory_id": "0"}],
        is_completed=True,
        is_truncated=truncated,
        stop_condition="max_turns_reached",
        reward=None,
        metrics=None,
        error=None,
    )
    return state
