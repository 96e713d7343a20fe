"""JSON, and JSON Schema by the optional package `jsonschema`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from collegium import ConfigError

LONGEST_VALIDATED = 20_000
"""Characters of JSON that are checked against a schema; some keywords take quadratic time."""


def parse_json(text: str) -> tuple[bool, Any]:
    """Return whether the text is JSON (NaN and Infinity are not), and its value."""
    try:
        return True, json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):  # a number of too many digits is a ValueError as well
        return False, None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def forbidden_keyword(schema: Any) -> str | None:
    """Return a keyword that a schema may not have: a pattern (it may backtrack without end), an outside reference."""
    if isinstance(schema, Mapping):
        for key, value in schema.items():
            if key == "patternProperties" or (key == "pattern" and isinstance(value, str)):
                return str(key)
            if key in ("$ref", "$dynamicRef") and isinstance(value, str) and not value.startswith("#"):
                return f"{key}: {value}"
    children = schema.values() if isinstance(schema, Mapping) else schema if isinstance(schema, list) else ()
    return next((found for child in children if (found := forbidden_keyword(child))), None)


def validator_of(schema: Mapping[str, Any]) -> Callable[[Any], bool]:
    """Return a function that says whether a value is valid by the schema.

    Raises:
        ConfigError: If `jsonschema` is not installed, or the schema is not a valid one.
    """
    try:
        import jsonschema  # type: ignore[import-untyped]  # it ships none
    except ImportError:
        raise ConfigError(
            "json_schema needs the package jsonschema, which is not installed",
            fix="pip install 'collegium-verifier-format[schema]'",
            owner="collegium-verifier-format",
        ) from None
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise ConfigError(
            f"json_schema is not a valid schema: {error.message}", owner="collegium-verifier-format"
        ) from None
    validator = kind(schema)

    def is_valid(value: Any) -> bool:
        try:
            return bool(validator.is_valid(value))
        except RecursionError:
            return False  # nested deeper than can be checked

    return is_valid
