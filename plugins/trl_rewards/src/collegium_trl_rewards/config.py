"""Options of the reward source `trl-function` (light: a function's module is found, not imported)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from collegium import Config
from collegium_trl_rewards.locate import code_files

TASK_FIELDS = ("reference", "id", "domain")
"""Fields of a task that a column may be taken from, besides its data."""
RESERVED = frozenset({"prompts", "completions", "completion_ids", "trainer_state", "log_extra", "log_metric"})
"""Arguments that are passed besides the columns; no column may have such a name."""


class WeightedFunction(Config):
    """A reward function and what it counts."""

    function: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")]
    """``module:attribute`` of the function (or of a callable object)."""
    weight: float = 1.0
    """Its reward is multiplied by this before the sum."""
    arguments: dict[str, Any] | None = None
    """If given, the attribute is a factory: it is called with these keyword arguments and returns the function."""

    @model_validator(mode="before")
    @classmethod
    def _from_path(cls, value: Any) -> Any:
        return {"function": value} if isinstance(value, str) else value

    @property
    def module(self) -> str:
        """The module's dotted name."""
        return self.function.partition(":")[0]


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, (str, Mapping, WeightedFunction)) else value


class TrlFunctionConfig(Config):
    """Options of the reward source `trl-function`."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"functions": "collegium_trl_rewards.functions:exact_match"}]}
    )

    functions: Annotated[list[WeightedFunction], BeforeValidator(_listed), Field(min_length=1)]
    """The functions: one ``module:attribute``, or a list of them, each alone or with `weight` and `arguments`."""
    columns: dict[str, str] = {}
    """Further columns: the name that the functions expect, and the task's field (``reference``, ``id``, ``domain``) or
    the key of its data that it is taken from. Every key of the data and ``reference`` are passed in any case."""
    format: Literal["auto", "conversational", "standard"] = "auto"
    """``conversational``: prompts and completions are lists of messages; ``standard``: they are text. ``auto``: each
    sample as its task's prompt is."""

    @model_validator(mode="after")
    def _names_are_free(self) -> TrlFunctionConfig:
        if taken := sorted(RESERVED & set(self.columns)):
            raise ValueError(f"columns may not be named {', '.join(taken)}: the functions get these in any case")
        return self

    def content_paths(self) -> Sequence[Path]:
        """Return the functions' code: a changed function's artifacts are not taken from the store."""
        return [path for each in self.functions for path in code_files(each.module)]
