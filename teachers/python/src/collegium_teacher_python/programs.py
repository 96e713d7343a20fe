"""Programs: two steps in order, and the tests that tell that order from its reverse."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any, Literal, get_args

from collegium_teacher_python.steps import (
    SORT,
    SUMMATION,
    Step,
    compute,
    each,
    further_on_sequences,
    on_numbers,
    on_sequences,
    write,
)

Kind = Literal["int", "str", "list"]
"""Type of the argument, and the first word of a prompt."""

KINDS: tuple[Kind, ...] = get_args(Kind)
"""All of them."""

PREFIX = "def f(x):\n    return "
"""What stands before a completion when it is run."""

TESTS = 4
"""Assertions per program."""

ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789 :,=+-*%()[]"
"""Every character of the domain's prompts, completions and texts."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to do with an argument.

    Args:
        kind: The argument's type.
        steps: The two steps, in order.
        slip: The same steps in reverse, as a reader of nested calls easily writes them.
    """

    kind: Kind
    steps: tuple[Step, Step]
    slip: tuple[Step, Step]

    @property
    def prompt(self) -> str:
        """The steps in words: ``int: add 3, mul 4 = ``."""
        return f"{self.kind}: {', '.join(step.name for step in self.steps)} = "

    @property
    def right(self) -> str:
        """The expression that does the first step first: ``(x+3)*4``."""
        return write(self.steps)

    @property
    def wrong(self) -> str:
        """The expression that does the last step first: ``x*4+3``."""
        return write(self.slip)


def all_programs(largest: int, longest: int, kinds: Sequence[Kind] = KINDS, *, more: bool = False) -> Iterator[Program]:
    """Yield every program with constants up to `largest` and slices up to `longest`; not in all does order matter.

    With `more`, strings and lists have `further_on_sequences` as well.
    """
    numbers, pieces = on_numbers(largest), on_sequences(longest)
    if more:
        pieces += further_on_sequences(longest)
    choices: dict[Kind, list[Step]] = {"int": numbers, "str": pieces, "list": [*pieces, SORT]}
    for kind in (kind for kind in KINDS if kind in kinds):
        yield from (Program(kind, pair, pair[::-1]) for pair in permutations(choices[kind], 2))
    for step in numbers if "list" in kinds else ():
        itemwise, total = (each(step), SUMMATION), (SUMMATION, step)
        yield from (Program("list", itemwise, total), Program("list", total, itemwise))


def tests_of(program: Program) -> list[str]:
    """Return assertions that `right` passes, and none of which the slip, a step left out, or the bare argument passes.

    What they expect is all different, so that no constant passes two. Fewer than `TESTS` if the order hardly matters.
    The inputs come from a generator seeded by the prompt: a program always has the same tests.
    """
    rng = random.Random(program.prompt)
    tests: dict[str, str] = {}
    for value in (_draw(program.kind, rng) for _ in range(60)):
        expected = compute(program.steps, value)
        if all(compute(shortcut, value) != expected for shortcut in _shortcuts(program)):
            tests.setdefault(repr(expected), f"assert f({value!r}) == {expected!r}")
    return list(tests.values())[:TESTS]


def _shortcuts(program: Program) -> Sequence[Sequence[Step]]:
    return (program.slip, program.steps[:1], program.slip[:1], ())


def _draw(kind: Kind, rng: random.Random) -> Any:
    if kind == "int":
        return rng.randrange(3, 60)
    length = rng.randrange(8, 12)
    if kind == "str":
        return "".join(rng.sample("abcdefghijklmnopqrstuvwxyz", length))
    return rng.sample(range(1, 40), length)
