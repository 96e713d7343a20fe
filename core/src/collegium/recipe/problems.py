"""Turn pydantic's errors into problems with file, line, owner and the nearest valid key."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from collegium.errors import Problem
from collegium.recipe.source import SourceMap

SECRET = re.compile("key|token|secret|password", re.IGNORECASE)
"""Options whose value may be a secret that was put in the wrong place; it is not shown."""
CREDENTIALS = re.compile(r"//[^/\s@]+@")
HIDDEN = "a value that is not shown, as it may be a secret"


def problems_of(
    error: ValidationError,
    model: type[BaseModel],
    prefix: Sequence[str],
    sources: SourceMap,
    *,
    owner: str | None = None,
    extra_keys: Sequence[str] = (),
) -> Iterator[Problem]:
    """Yield one problem per fault of a `ValidationError`.

    Args:
        error: What pydantic raised.
        model: The model that was validated, whose field names are the valid keys.
        prefix: Key path of the model within the recipe.
        sources: Where each key stands.
        owner: The distribution that the model belongs to.
        extra_keys: Keys that are valid here besides the model's fields.
    """
    # unknown keys first: a misspelt key often shows as a missing one, too
    for fault in sorted(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden"):
        loc = [str(part) for part in fault["loc"]]
        path = [*prefix, *loc]
        where = sources.locate(path)
        dotted = ".".join(path)
        if fault["type"] == "extra_forbidden":
            valid = sorted({*_fields_at(model, loc[:-1]), *(extra_keys if len(loc) == 1 else ())})
            close = difflib.get_close_matches(loc[-1], valid, n=1)
            fix = f"did you mean {close[0]!r}?" if close else f"valid keys: {', '.join(valid)}"
            yield Problem(f"{dotted}: unknown key {loc[-1]!r}", fix, owner, where)
        elif fault["type"] == "missing":
            yield Problem(f"{dotted}: missing; it is required", f"add {loc[-1]!r}", owner, where)
        else:
            found = fault.get("input")
            message = fault["msg"].removeprefix("Value error, ")
            shown = HIDDEN if SECRET.search(path[-1]) else _short(found)
            yield Problem(f"{dotted}: {message}, found {shown}", "", owner, where)


def _fields_at(model: type[BaseModel], loc: Sequence[str]) -> list[str]:
    """Return the field names of the model nested at `loc`."""
    current: Any = model
    for part in loc:
        fields = getattr(current, "model_fields", {})
        if part not in fields:
            continue
        current = next(iter(_models_in(fields[part].annotation)), None)
        if current is None:
            return []
    return list(getattr(current, "model_fields", {}))


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _short(value: Any) -> str:
    text = CREDENTIALS.sub("//***@", repr(value))
    return text if len(text) <= 80 else text[:77] + "..."
