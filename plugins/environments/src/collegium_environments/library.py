"""The `verifiers` library: environments loaded once, their signal handlers left out, their rubric's failures told."""

from __future__ import annotations

import contextvars
import functools
import importlib
import inspect
import json
import signal
import threading
from collections.abc import Callable, Iterator
from importlib import metadata
from types import SimpleNamespace
from typing import Any

from collegium import ConfigError, PluginError
from collegium_environments.config import EnvironmentConfig

OWNER = "collegium-environments"
failures: contextvars.ContextVar[list[str]] = contextvars.ContextVar("failures")
"""What the rubric's functions raised while one completion was scored."""
_lock = threading.Lock()


def load(config: EnvironmentConfig) -> Any:
    """Return the environment that a config names; the same for equal ids and arguments.

    Raises:
        PluginError: If the library is not installed.
        ConfigError: If the environment cannot be loaded, or is not single-turn.
    """
    with _lock:
        return _load(config.environment, json.dumps(config.arguments, sort_keys=True))


@functools.lru_cache(maxsize=16)
def _load(name: str, arguments: str) -> Any:
    try:
        metadata.version("verifiers")  # not by import: a folder of that name would answer
    except metadata.PackageNotFoundError:
        raise PluginError(
            "environments need the package verifiers, which is not installed",
            fix="pip install 'collegium-environments[library]'",
            owner=OWNER,
        ) from None
    vf: Any = importlib.import_module("verifiers")
    _leave_signals_alone(importlib.import_module("verifiers.envs.environment"))
    try:
        environment = vf.load_environment(name, **json.loads(arguments))
    except Exception as error:
        raise ConfigError(
            f"environment {name!r} cannot be loaded: {type(error).__name__}: {error}",
            fix="check its package and arguments",
            owner=OWNER,
        ) from error
    _require_single_turn(vf, environment, name)
    for rubric in _rubrics(environment.rubric):
        rubric.funcs = [_watched(function) for function in rubric.funcs]
    return environment


def _leave_signals_alone(module: Any) -> None:
    """Keep environments from installing signal handlers: those are the worker's, and need the main thread."""
    module.signal = SimpleNamespace(
        **{name: getattr(signal, name) for name in ("SIGINT", "SIGTERM", "default_int_handler")},
        signal=lambda *_: None,
    )


def _require_single_turn(vf: Any, environment: Any, name: str) -> None:
    found = type(environment).__name__
    tools = bool(getattr(environment, "tool_defs", None))
    if not isinstance(environment, vf.SingleTurnEnv) or tools or environment.rubric.has_group_rewards:
        what = "has tools" if tools else "has rewards over a group" if isinstance(environment, vf.SingleTurnEnv) else ""
        raise ConfigError(
            f"environment {name!r} {what or f'is a {found}'}; expected a SingleTurnEnv whose rubric judges completions "
            "one by one",
            fix="multi-turn and tool environments and group rewards are not supported yet; choose another",
            owner=OWNER,
        )


def _rubrics(rubric: Any) -> Iterator[Any]:
    yield rubric
    for inner in getattr(rubric, "rubrics", ()):
        yield from _rubrics(inner)


def _watched(function: Callable[..., Any]) -> Callable[..., Any]:
    """Note what a reward function raises: the library logs it and counts a reward of zero."""

    @functools.wraps(function)
    async def watched(*args: Any, **kwargs: Any) -> Any:
        try:
            result = function(*args, **kwargs)
            return await result if inspect.isawaitable(result) else result
        except Exception as error:
            failures.get().append(f"{getattr(function, '__name__', function)} raised {type(error).__name__}: {error}")
            raise

    return watched
