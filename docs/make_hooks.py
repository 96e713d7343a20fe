"""Write docs/hooks.md from the hook specifications and the component classes (`make docs`)."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType

import collegium
from collegium import hookspecs
from collegium.component import Configurable

HEAD = """# Hooks and components

Made from the code by `make docs`; a test fails when it is not up to date. A plugin implements any of these hooks in the
module that its entry point (group `collegium`) names, marked with `@collegium.hookimpl`.
"""
CLASSES = (
    "Loss", "RewardSource", "Verifier", "Sampler", "Router",
    "Stage", "Advantage", "Weighter", "Teacher", "Engine", "TaskSource", "Executor", "Tracker",
)  # fmt: skip


def render() -> str:
    """Return the page."""
    return "\n".join([HEAD, "## Hooks", "", *_hooks(), "## Component classes", "", *_classes()])


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
        yield f"### `collegium.{name}`"
        yield ""
        yield inspect.getdoc(cls) or ""
        yield ""
        for attribute, value in vars(cls).items():
            function = value.fget if isinstance(value, property) else value
            if isinstance(function, FunctionType) and not attribute.startswith("_"):
                yield f"* `{attribute}{_signature(function)}`: {_first_line(function)}"
        yield ""


def _signature(function: FunctionType) -> str:
    return str(inspect.signature(function)).replace("'", "")


def _first_line(function: FunctionType) -> str:
    return " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())


if __name__ == "__main__":
    path = Path(__file__).parent / "hooks.md"
    text = render()
    if "--check" in sys.argv:
        sys.exit(0 if path.read_text(encoding="utf-8") == text else "docs/hooks.md is not up to date: make docs")
    path.write_text(text, encoding="utf-8")
