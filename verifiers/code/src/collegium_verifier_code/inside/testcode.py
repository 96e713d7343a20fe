"""Read test code: which names it takes from the submission, and where its assertions are."""

from __future__ import annotations

import ast
import builtins
import sys
from dataclasses import dataclass, field


@dataclass(slots=True)
class Names:
    """The names in a piece of test code."""

    loaded: set[str] = field(default_factory=set)
    bound: set[str] = field(default_factory=set)
    called: set[str] = field(default_factory=set)
    attribute_of: set[str] = field(default_factory=set)
    imported: set[str] = field(default_factory=set)
    asynchronous: bool = False

    @property
    def free(self) -> set[str]:
        """Names that the code takes from elsewhere, built-in ones left out."""
        return {name for name in self.loaded - self.bound if not hasattr(builtins, name)}

    @property
    def modules(self) -> set[str]:
        """Free names that can only be standard modules, such as ``math`` in ``math.isclose(...)``."""
        return {name for name in self.free & self.attribute_of - self.called if name in sys.stdlib_module_names}

    @property
    def called_builtins(self) -> set[str]:
        """Built-in names that the code calls."""
        return {name for name in self.called - self.bound if hasattr(builtins, name)}


def names_in(text: str) -> Names:
    """Collect the names of test code.

    Raises:
        SyntaxError: If it is not Python.
    """
    names = Names()
    for node in ast.walk(ast.parse(text)):
        _collect(node, names)
    return names


def _collect(node: ast.AST, names: Names) -> None:
    match node:
        case ast.Name(id=name, ctx=ast.Load()):
            names.loaded.add(name)
        case ast.Name(id=name) | ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.arg(arg=name):
            names.bound.add(name)
        case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
            names.bound.update((alias.asname or alias.name).partition(".")[0] for alias in aliases)
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in aliases]
            names.imported.update(module.partition(".")[0] for module in modules)
        case ast.Await() | ast.AsyncFunctionDef() | ast.AsyncFor() | ast.AsyncWith():
            names.asynchronous = True
        case ast.ExceptHandler(name=str(name)):
            names.bound.add(name)
        case ast.Call(func=ast.Name(id=name)):
            names.called.add(name)
        case ast.Attribute(value=ast.Name(id=name)):
            names.attribute_of.add(name)


def check_supported(names: Names) -> None:
    """Refuse tests that cannot be run here, whatever the submission.

    Raises:
        ValueError: If they are asynchronous or import what the sandbox does not have.
    """
    if names.asynchronous or "asyncio" in names.imported | names.modules:
        raise ValueError("tests use async code, which is not supported")
    missing = sorted(names.imported - sys.stdlib_module_names)
    if missing:
        raise ValueError(f"tests import {', '.join(missing)}; the sandbox has the standard library only")


def defined_at_top(text: str) -> set[str]:
    """Names that a module's text defines at its top level; none if it is not a whole module."""
    try:
        body = ast.parse(text).body
    except SyntaxError:
        return set()
    return {node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def take_names(names: Names, entry_point: str | None) -> set[str]:
    """Choose which names the submission provides.

    A built-in name is never taken from the submission, or it could redefine ``abs`` or ``set`` under the test; except
    where the tests call nothing else, and only one: then that is the function under test.

    Raises:
        ValueError: If the tests call nothing of the submission's, or it is unclear what.
    """
    taken = (names.free - names.modules) | ({entry_point} if entry_point else set())
    if taken:
        return taken
    if len(names.called_builtins) == 1:
        return set(names.called_builtins)
    found = ", ".join(sorted(names.called_builtins)) or "nothing"
    raise ValueError(f"the tests call {found}: cannot tell the function under test; give `entry_point`")


CHECK = "__check__"
TEMPLATE = f"""
try:
    {CHECK}(None)
except Exception as __error__:
    {CHECK}(__error__)
"""


class AssertRecorder(ast.NodeTransformer):
    """Turn ``assert X`` into ``__check__(X)``: how it went is recorded, and the test can go on after a failure."""

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        """Replace one assertion."""
        attempt = ast.parse(TEMPLATE).body[0]
        assert isinstance(attempt, ast.Try)
        attempt.body = [ast.Expr(ast.Call(ast.Name(CHECK, ast.Load()), [node.test], []))]
        for part in ast.walk(attempt):
            ast.copy_location(part, node)
        return ast.fix_missing_locations(attempt)


def count_asserts(text: str) -> int:
    """Count the assertions in a text."""
    return sum(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(text)))
