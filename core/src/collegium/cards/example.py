"""An example of a component's use in a recipe, generated from its `Config` and its card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from pydantic import ValidationError

from collegium.component import Config, Kind

PLACES: dict[Kind, str] = {
    "task": "in domains.NAME",
    "verifier": "in domains.NAME",
    "environment": "in domains.NAME",
    "stage": "in stages",
    "teacher": "in a stage's teachers, by the name that its router gives",
    "executor": "at the top of a recipe",
    "tracker": "in trackers",
}
"""Where a recipe names a component of a kind; all other kinds are options of a stage."""
PLACEHOLDERS: dict[str, Any] = {
    "string": "TEXT", "integer": 1, "number": 1.0, "boolean": True, "array": [], "object": {}
}  # fmt: skip


def example_options(config: type[Config], given: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
    """Return options that are valid, or None if none is known.

    The card's example first, then none at all, the schema's own examples, and what is required with placeholders.
    """
    for options in ([dict(given)] if given is not None else []) + list(_candidates(config)):
        try:
            config.model_validate(options)
        except ValidationError:
            continue
        return options
    return None


def example_yaml(kind: Kind, name: str, config: type[Config], given: Mapping[str, Any] | None = None) -> str:
    """Return a snippet of a recipe that uses a component; what must be filled in is said.

    Args:
        kind: The component's kind.
        name: ``distribution/name``.
        config: Its `Config`.
        given: The example of its card.
    """
    options = example_options(config, given)
    comment = f"# {PLACES.get(kind, f'where the options of a stage name its {kind}')}"
    if options is None:
        options = list(_candidates(config))[-1]
        comment += "; fill in what is required"
    body: dict[str, Any] = {"use": name, **options}
    if kind == "stage":
        body = {"stages": {name.rpartition("/")[2]: {**body, **_edges(config)}}}
    elif kind == "tracker":
        body = {"trackers": [body]}
    else:
        body = {_key(kind, name): body}
    return f"{comment}\n{yaml.safe_dump(body, sort_keys=False, allow_unicode=True)}"


def _key(kind: Kind, name: str) -> str:
    return name.rpartition("/")[2] if kind == "teacher" else str(kind)


def _edges(config: type[Config]) -> dict[str, Any]:
    """Return the edges that a stage cannot do without, from stages named `base` and `teacher`."""
    required = sorted(getattr(config, "requires", ()))
    forms: dict[str, Any] = {"teachers": {"from": "teacher"}, "init_from": "base", "reference": "base"}
    return {edge: forms.get(edge, ["base"]) for edge in required}


def _candidates(config: type[Config]) -> Iterator[dict[str, Any]]:
    schema = config.model_json_schema()
    yield {}
    yield from (dict(example) for example in schema.get("examples", ()) if isinstance(example, Mapping))
    yield {name: _placeholder(schema["properties"][name]) for name in schema.get("required", ())}


def _placeholder(field: Mapping[str, Any]) -> Any:
    if field.get("examples"):
        return field["examples"][0]
    if field.get("enum"):
        return field["enum"][0]
    if "minimum" in field:
        return field["minimum"]
    return PLACEHOLDERS.get(str(field.get("type")), "TEXT")
