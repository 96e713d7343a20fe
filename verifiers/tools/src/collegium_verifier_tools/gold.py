"""Check that a task's expected calls fit its own functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "float": (int, float), "number": (int, float), "boolean": (bool,),
    "array": (list,), "tuple": (list,), "dict": (dict,), "object": (dict,),
}  # fmt: skip


def fault(data: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a task's `functions` and `ground_truth`, or None."""
    functions, golds = data.get("functions"), data.get("ground_truth")
    if not isinstance(functions, list | tuple) or not isinstance(golds, list | tuple):
        return "the task needs lists `functions` and `ground_truth` in its data"
    try:
        schemas = {function["name"]: function["parameters"] for function in functions}
        return next((found for gold in golds if (found := _call_fault(gold, schemas))), None)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return f"functions or ground truth are malformed: {error!r}"


def _call_fault(gold: Mapping[str, Any], schemas: Mapping[str, Any]) -> str | None:
    ((name, arguments),) = gold.items()
    if name not in schemas:
        return f"ground truth calls {name!r}, which is not among the functions"
    missing = [key for key in schemas[name].get("required", ()) if key not in arguments]
    if missing:
        return f"ground truth of {name} lacks the required argument {missing[0]!r}"
    properties = schemas[name]["properties"]
    for key, allowed in arguments.items():
        if key not in properties:
            return f"ground truth of {name} has argument {key!r}, which its schema lacks"
        if not isinstance(allowed, list | tuple) or not allowed:
            return f"ground truth of {name}.{key} must list its allowed values"
        optional = key not in schemas[name].get("required", ())  # such an argument may also be null
        given = [value for value in allowed if value != "" and not (value is None and optional)]
        bad = [value for value in given if not _is(value, properties[key].get("type"))]
        if bad:
            return f"ground truth of {name}.{key} allows {bad[0]!r}, which is no {properties[key].get('type')}"
    return None


def _is(value: Any, kind: Any) -> bool:
    if isinstance(value, bool):
        return kind in ("boolean", "any")
    return kind not in _TYPES or isinstance(value, _TYPES[kind])
