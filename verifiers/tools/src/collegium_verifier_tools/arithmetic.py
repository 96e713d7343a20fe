"""The value of an expression of plain numbers, without evaluating code."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable

LONGEST = 1_000
"""Characters of an expression."""
_BINARY: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
}  # fmt: skip


def value_of(expression: str) -> float:
    """Return the value of numbers, ``+ - * /`` and parentheses.

    Raises:
        ValueError: If it is no such expression, is too long, or has no finite value.
    """
    if len(expression) > LONGEST:
        raise ValueError("the expression is too long")
    try:
        return _value(ast.parse(expression.strip(), mode="eval").body)
    except (SyntaxError, ArithmeticError, RecursionError, MemoryError) as error:
        raise ValueError(f"not an expression with a value: {type(error).__name__}") from error


def _value(node: ast.expr) -> float:
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        return _BINARY[type(node.op)](_value(node.left), _value(node.right))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.UAdd | ast.USub):
        return _value(node.operand) * (-1 if isinstance(node.op, ast.USub) else 1)
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return float(node.value)
    raise ValueError("only numbers, + - * / and parentheses")
