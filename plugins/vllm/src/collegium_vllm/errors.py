"""Errors of this distribution: the core's types, with their owner."""

from __future__ import annotations

from collegium import ConfigError, EngineError

OWNER = "collegium-vllm"


def engine_error(what: str, fix: str = "") -> EngineError:
    """Return an `EngineError` that this distribution owns."""
    return EngineError(what, fix=fix, owner=OWNER)


def config_error(what: str, fix: str = "") -> ConfigError:
    """Return a `ConfigError` that this distribution owns."""
    return ConfigError(what, fix=fix, owner=OWNER)
