"""Steps: what a prompt asks for, what it does to a value, and how it is written in Python."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

POWER, PRODUCT, SUM = 3, 2, 1
ATOM = 4
"""How tightly an expression binds: a name, a call or a subscript most, a sum least."""


@dataclass(frozen=True, slots=True)
class Step:
    """One operation on an integer, a string or a list.

    Args:
        name: As the prompt says it, such as ``add 3``.
        template: As Python writes it, with ``{}`` for the operand.
        apply: The same operation, independent of `template`; its type follows from the step before.
        binding: How tightly the written step binds.
        needs: How tightly its operand must bind not to need parentheses; 0 takes anything.
    """

    name: str
    template: str
    apply: Callable[[Any], Any]
    binding: int = ATOM
    needs: int = ATOM


def write(steps: Sequence[Step], operand: str = "x") -> str:
    """Write the steps, first to last, as one Python expression."""
    binding = ATOM
    for step in steps:
        operand = step.template.format(operand if binding >= step.needs else f"({operand})")
        binding = step.binding
    return operand


def compute(steps: Sequence[Step], value: Any) -> Any:
    """Apply the steps, first to last, without running Python source."""
    for step in steps:
        value = step.apply(value)
    return value


def on_numbers(largest: int) -> list[Step]:
    """Return the steps on integers, with constants from 2 to `largest`."""
    constants = range(2, largest + 1)
    return [
        *(Step(f"add {k}", f"{{}}+{k}", _by(operator.add, k), SUM, SUM) for k in constants),
        *(Step(f"sub {k}", f"{{}}-{k}", _by(operator.sub, k), SUM, SUM) for k in constants),
        *(Step(f"mul {k}", f"{{}}*{k}", _by(operator.mul, k), PRODUCT, PRODUCT) for k in constants),
        *(Step(f"mod {k}", f"{{}}%{k}", _by(operator.mod, k), PRODUCT, PRODUCT) for k in constants),
        Step("square", "{}**2", _by(operator.pow, 2), POWER),
    ]


def on_sequences(longest: int) -> list[Step]:
    """Return the steps on strings and lists, taking or dropping up to `longest` items."""
    lengths = range(1, longest + 1)
    return [
        Step("reverse", "{}[::-1]", _by(operator.getitem, slice(None, None, -1))),
        *(Step(f"first {n}", f"{{}}[:{n}]", _by(operator.getitem, slice(n))) for n in lengths),
        *(Step(f"drop {n}", f"{{}}[{n}:]", _by(operator.getitem, slice(n, None))) for n in lengths),
    ]


def further_on_sequences(longest: int) -> list[Step]:
    """Return more steps on strings and lists: the last items, all but those, every second or third, said again."""
    lengths = range(1, longest + 1)
    return [
        *(Step(f"last {n}", f"{{}}[-{n}:]", _by(operator.getitem, slice(-n, None))) for n in lengths),
        *(Step(f"cut {n}", f"{{}}[:-{n}]", _by(operator.getitem, slice(-n))) for n in lengths),
        *(Step(f"every {n}", f"{{}}[::{n}]", _by(operator.getitem, slice(None, None, n))) for n in (2, 3)),
        *(Step(name, f"{{}}*{n}", _by(operator.mul, n), PRODUCT) for name, n in (("double", 2), ("triple", 3))),
    ]


SORT = Step("sort", "sorted({})", sorted, needs=0)
SUMMATION = Step("sum", "sum({})", sum, needs=0)


def each(step: Step) -> Step:
    """Return the step on integers `step`, done to every item of a list."""
    template = f"[{step.template.format('v')} for v in {{}}]"
    return Step(step.name, template, lambda v: [step.apply(item) for item in v], needs=0)


def _by(function: Callable[[Any, Any], Any], second: Any) -> Callable[[Any], Any]:
    return lambda first: function(first, second)
