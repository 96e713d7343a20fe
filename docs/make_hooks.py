"""Write docs/hooks.md and docs/recipe.md from the code (`make docs`); `--check` says whether they are up to date."""

from __future__ import annotations

import ast
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

import collegium
from collegium import hookspecs
from collegium.component import Configurable
from collegium.job import ErrorPolicy, EvaluationSpec
from collegium.launch_config import LaunchConfig
from collegium.recipe import model
from collegium.recipe.shape import ModelShape

DOCS = Path(__file__).parent
HEAD = """# Hooks and components

Made from the code by `make docs`; a test fails when it is not up to date. A plugin implements any of these hooks in the
module that its entry point (group `collegium`) names, marked with `@collegium.hookimpl`.
"""
CLASSES = (
    "Loss", "RewardSource", "Verifier", "Sampler", "Router",
    "Stage", "Advantage", "Weighter", "Teacher", "Engine", "TaskSource", "Executor", "Tracker",
    "Environment", "Episode",
)  # fmt: skip
VALUES = (
    "Task", "Demonstration", "Completion", "Sample", "Message", "Split", "Score", "Abstain", "Error",
    "Config", "Configurable", "Component", "Kind", "Use", "SamplingParams", "Generation", "RewardContext", "Route",
    "StageConfig",
    "TeacherConfig",
    "LossConfig",
    "ExecutorConfig",
    "EnvironmentConfig",
)  # fmt: skip
ERRORS = (
    "CollegiumError", "RecipeError", "ConfigError", "DataError", "PluginError", "TeacherError", "VerifierError",
    "EngineError", "StoreError", "PolicyError",
)  # fmt: skip
RECIPE = {
    "The recipe": model.Recipe,
    "`requires.NAME`": model.RequirementConfig,
    "`domains.NAME`": model.DomainConfig,
    "`models.NAME`": model.ModelConfig,
    "`models.NAME.shape`": ModelShape,
    "`launch`, `stages.NAME.launch`": LaunchConfig,
    "`evaluation`": EvaluationSpec,
    "`evaluation.sampling`": collegium.SamplingParams,
    "`admission`": model.AdmissionConfig,
    "`errors`": ErrorPolicy,
    "`stages.NAME`": model.StageEntry,
    "`stages.NAME` with `rounds`": model.GroupEntry,
}


def hooks_page() -> str:
    """Return the page of hooks, component classes and values."""
    sections = ["## Hooks", "", *_hooks(), "## Component classes", "", *_classes(), "## Values", "", *_values()]
    sections += ["## Components in options", "", *_uses(), "## Errors", "", *_errors()]
    return "\n".join([HEAD, *sections])


def recipe_page() -> str:
    """Return the page of recipe keys, under its hand-written head."""
    return "\n".join([(DOCS / "recipe_head.md").read_text(encoding="utf-8"), *_keys()])


def _hooks() -> Iterator[str]:
    for name, function in vars(hookspecs).items():
        if isinstance(function, FunctionType) and hasattr(function, "collegium_spec"):
            yield f"### `{name}{_signature(function)}`"
            yield ""
            yield inspect.getdoc(function) or ""
            yield ""


def _classes() -> Iterator[str]:
    for name in CLASSES:
        cls: type[Configurable] = getattr(collegium, name)
        yield from _heading(name, cls)
        for attribute, (kind, text) in _attributes(cls).items():
            if text:
                yield f"* `{attribute}: {kind}`: {text}"
        yield from _methods(cls)
        yield ""


def _values() -> Iterator[str]:
    for name in VALUES:
        value: Any = getattr(collegium, name)
        if not isinstance(value, type):
            yield from (f"### `collegium.{name}`", "", f"`{str(value).replace('typing.', '')}`", "")
            continue
        yield from _heading(name, value)
        if issubclass(value, BaseModel):
            yield from _fields(value)
        arguments = _arguments(value)
        for attribute, (kind, text) in _attributes(value).items():
            if not issubclass(value, BaseModel) or attribute not in value.model_fields:
                said = text or arguments.get(attribute, "")
                yield f"* `{attribute}: {kind}`" + (f": {said}" if said else "")
        yield from _methods(value)
        yield ""


def _uses() -> Iterator[str]:
    """Yield the annotations that mark an option as a component's name."""
    yield "An option that names another component is annotated with its kind; the plan resolves it with its options:"
    yield ""
    for name in (name for name in collegium.__all__ if name.startswith("Use") and name != "Use"):
        kind = next(item.kind for item in getattr(collegium, name).__metadata__)
        yield f"* `collegium.{name}`: {kind}"
    yield ""


def _errors() -> Iterator[str]:
    yield f"The contract's version is `collegium.API` (now {collegium.API}); a plugin may declare `collegium_api`."
    yield "Whatever a plugin raises is reported under its distribution's name; these are the framework's own:"
    yield ""
    for name in ERRORS:
        yield f"* `collegium.{name}`: {_summary(getattr(collegium, name))}"
    yield ""


def _summary(value: object) -> str:
    return " ".join((inspect.getdoc(value) or "").split("\n\n")[0].split())


def _description(value: object) -> str:
    """Return a docstring without its blocks of arguments, results and errors."""
    text = re.split(r"\n\n(?:Args|Returns|Raises|Yields):\n", inspect.getdoc(value) or "")[0]
    return " ".join(text.split())


def _keys() -> Iterator[str]:
    for title, cls in RECIPE.items():
        yield from (f"## {title}", "", inspect.getdoc(cls) or "", "", *_fields(cls), "")


def _heading(name: str, cls: type) -> Iterator[str]:
    summary = re.split(r"\n\n(?:Args|Raises):\n", inspect.getdoc(cls) or "")[0]
    yield from (f"### `collegium.{name}`", "", summary, "")


def _arguments(cls: type) -> dict[str, str]:
    """Return what a docstring's ``Args:`` block says of each name."""
    block = (inspect.getdoc(cls) or "").partition("Args:\n")[2].partition("\n\n")[0]
    entries = re.findall(r"^    (\w+): (.*(?:\n     .*)*)", block, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def _methods(cls: type) -> Iterator[str]:
    for attribute, value in vars(cls).items():
        function = value.fget if isinstance(value, property) else value
        if isinstance(function, FunctionType) and not attribute.startswith("_") and function.__doc__:
            yield f"* `{attribute}{_signature(function)}`: {_description(function)}"


def _fields(cls: type[BaseModel]) -> Iterator[str]:
    """Yield a line per field: type, default, description."""
    attributes = _attributes(cls)
    for name, field in cls.model_fields.items():
        bounds = "".join(f", {bound}" for item in field.metadata for bound in _bounds(item))
        text = " ".join((field.description or "").split())
        yield f"* `{name}`: `{attributes[name][0]}`{bounds}, {_default(field)}." + (f" {text}" if text else "")


def _bounds(item: object) -> Iterator[str]:
    for name, words in (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below")):
        if hasattr(item, name):
            yield f"{words} {getattr(item, name)}"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
        value = value["use"] if set(value) == {"use", "options"} else value
    return f"default `{'none' if value is None else json.dumps(value)}`"


def _attributes(cls: type) -> dict[str, tuple[str, str]]:
    """Return each annotated attribute's type as written and the string under it (both from the source)."""
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0].body  # type: ignore[attr-defined]
    found = {}
    for statement, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            text = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
            found[statement.target.id] = (_type(statement.annotation), " ".join(str(text).split()))
    return found


def _type(annotation: ast.expr) -> str:
    """Return a type as written; ``Annotated[Use, OfKind("task")]`` is a ``Use[task]``."""
    return re.sub(r"Annotated\[Use, OfKind\('(\w+)'\)\]", r"Use[\1]", ast.unparse(annotation))


def _signature(function: FunctionType) -> str:
    return str(inspect.signature(function)).replace("'", "")


def main(check: bool) -> str | None:
    """Write both pages, or with `check` name those that are not up to date."""
    stale = []
    for name, text in (("hooks.md", hooks_page()), ("recipe.md", recipe_page())):
        path = DOCS / name
        if check and (not path.is_file() or path.read_text(encoding="utf-8") != text):
            stale.append(f"docs/{name}")
        elif not check:
            path.write_text(text, encoding="utf-8")
    return f"{', '.join(stale)} not up to date: make docs" if stale else None


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv))
