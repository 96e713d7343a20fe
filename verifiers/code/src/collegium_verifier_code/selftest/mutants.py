"""Wrong solutions made from right ones: one change at one place of the syntax tree, drawn by a seed.

Whether a change alters what the program computes cannot be decided in general, so some of these are still right
("equivalent mutants"); nothing here tries to tell them apart.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import random
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

OPERATORS: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Div,
    ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitAnd,
    ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
COMPARISONS: dict[type, type] = {
    ast.Lt: ast.GtE, ast.GtE: ast.Lt, ast.Gt: ast.LtE, ast.LtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
BOUNDARIES: dict[type, type] = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}


@dataclass(frozen=True, slots=True)
class Mutant:
    """A changed solution: which kind of change, and the whole text."""

    kind: str
    text: str


Change = Callable[[ast.AST], bool]
"""Changes a node in place if it is of the right sort, and says whether it did."""


def swap_operator(node: ast.AST) -> bool:
    """``+`` for ``-``, ``and`` for ``or`` and so on."""
    if isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign) and type(node.op) in OPERATORS:
        node.op = OPERATORS[type(node.op)]()
        return True
    return False


def flip_comparison(node: ast.AST) -> bool:
    """The opposite comparison."""
    return _swap_comparison(node, COMPARISONS)


def move_boundary(node: ast.AST) -> bool:
    """``<`` for ``<=`` and so on, or a bound of ``range`` or of a slice one higher: off by one."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range":
        node.args[min(1, len(node.args) - 1)] = _plus_one(node.args[min(1, len(node.args) - 1)])
        return True
    if isinstance(node, ast.Slice) and (bound := node.upper or node.lower) is not None:
        setattr(node, "upper" if node.upper else "lower", _plus_one(bound))
        return True
    return _swap_comparison(node, BOUNDARIES)


def change_constant(node: ast.AST) -> bool:
    """A number one higher, a truth value negated, a text with a character more."""
    if not isinstance(node, ast.Constant) or node.value is None or isinstance(node.value, bytes | type(...)):
        return False
    if isinstance(node.value, bool):
        node.value = not node.value
    elif isinstance(node.value, str):
        node.value += "x"
    else:
        node.value += 1
    return True


def return_none(node: ast.AST) -> bool:
    """``return None`` for a value."""
    if isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
        node.value = ast.Constant(None)
        return True
    return False


def delete_statement(node: ast.AST) -> bool:
    """``pass`` for the last statement of a block that is not a loop, a return or a definition."""
    body = getattr(node, "body", None)
    if not isinstance(body, list) or isinstance(node, ast.Module | ast.ClassDef):
        return False
    places = [i for i, each in enumerate(body) if isinstance(each, ast.Assign | ast.AugAssign | ast.Expr | ast.If)]
    places = [i for i in places if not _is_text(body[i])]
    if places:
        body[places[-1]] = ast.copy_location(ast.Pass(), body[places[-1]])
    return bool(places)


KINDS: dict[str, Change] = {
    "operator": swap_operator,
    "comparison": flip_comparison,
    "off by one": move_boundary,
    "constant": change_constant,
    "returns None": return_none,
    "statement deleted": delete_statement,
}


def mutants(source: str, seed: str, *, after_line: int = 0) -> Iterator[Mutant]:
    """Yield at most one mutant per kind, at a place drawn by the seed, and one that is cut off.

    Args:
        source: A whole module that is right.
        seed: What the draw depends on, such as the task's id.
        after_line: Lines up to this one stay as they are.
    """
    tree = parse(source)
    texts = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings compute nothing
    for kind, change in KINDS.items():
        nodes = [(n, node) for n, node in enumerate(ast.walk(tree)) if id(node) not in texts]
        places = [n for n, node in nodes if getattr(node, "end_lineno", 0) > after_line and _fits(node, change)]
        if places:
            yield Mutant(kind, _changed(tree, change, _draw(f"{seed}/{kind}").choice(places)))
    yield Mutant("truncated", truncated(source))


def parse(source: str) -> ast.Module:
    """Parse a text that is somebody else's: what the compiler warns of in it is no concern of ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(source)


def truncated(source: str) -> str:
    """Cut off the last of the lines that hold code, as a completion that ran into its length limit is."""
    lines = source.rstrip().split("\n")
    return "\n".join(lines[:-1]) + "\n"


def _draw(seed: str) -> random.Random:
    return random.Random(int(hashlib.sha256(seed.encode()).hexdigest(), 16))


def _fits(node: ast.AST, change: Change) -> bool:
    return change(copy.deepcopy(node))


def _changed(tree: ast.Module, change: Change, place: int) -> str:
    other = copy.deepcopy(tree)
    change(list(ast.walk(other))[place])
    return ast.unparse(ast.fix_missing_locations(other)) + "\n"


def _swap_comparison(node: ast.AST, table: dict[type, type]) -> bool:
    if isinstance(node, ast.Compare) and type(node.ops[0]) in table:
        node.ops[0] = table[type(node.ops[0])]()
        return True
    return False


def _plus_one(node: ast.expr) -> ast.expr:
    return ast.BinOp(node, ast.Add(), ast.Constant(1))


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _is_text(node: ast.AST) -> bool:
    """Tell whether a node is a docstring or a text that stands alone."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
