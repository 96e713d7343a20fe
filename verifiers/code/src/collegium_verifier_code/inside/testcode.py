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
        case ast.ExceptHandler(name=str(name)):
            names.bound.add(name)
        case ast.Call(func=ast.Name(id=name)):
            names.called.add(name)
        case ast.Attribute(value=ast.Name(id=name)):
            names.attribute_of.add(name)


def defined_at_top(text: str) -> set[str]:
    """Names that a module's text defines at its top level; none if it is not a whole module."""
    try:
        body = ast.parse(text).body
    except SyntaxError:
        return set()
    return {node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def take_names(names: Names, entry_point: str | None) -> set[str]:
    """Choose which names the submission provides.

    A built-in name is never taken from the submission, or it could redefine ``abs`` or ``set`` under the test; except where
    the tests call nothing else, and only one: then that is the function under test.

    Raises:
        ValueError: If the tests call nothing of the submission's, or it is unclear what.
    """
    taken = names.free - names.modules | ({entry_point} if entry_point else set())
    if taken:
        return taken
    if len(names.called_builtins) == 1:
        return set(names.called_builtins)
    found = ", ".join(sorted(names.called_builtins)) or "nothing"
    raise ValueError(f"the tests call {found}: cannot tell the function under test; give `entry_point`")


class AssertCounter(ast.NodeTransformer):
    """Turn each ``assert`` into a call that records how it went and lets the test go on.

    ``assert X`` becomes ``__check__(lambda: X)``: `lambda` sees the same names, and needs no statement of its own.
    """

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        """Replace one assertion."""
        arguments = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
        call = ast.Call(ast.Name("__check__", ast.Load()), [ast.Lambda(arguments, node.test)], [])
        return ast.fix_missing_locations(ast.copy_location(ast.Expr(call), node))


def count_asserts(text: str) -> int:
    """Count the assertions in a text."""
    return sum(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(text)))
