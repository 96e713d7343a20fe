"""``--set KEY=VALUE``: options on the command line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from collegium.errors import ConfigError


def read_settings(settings: Iterable[str]) -> dict[str, Any]:
    """Read ``key=value`` settings; a value is YAML.

    Raises:
        ConfigError: If one is no setting, or its value is not YAML.
    """
    import yaml

    options: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not (equals and key):
            raise ConfigError(f"--set {setting!r} is not KEY=VALUE", fix="such as --set mode=loose")
        try:
            options[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            first = str(error).splitlines()[0]
            raise ConfigError(f"--set {setting!r}: the value is not YAML: {first}") from error
    return options
