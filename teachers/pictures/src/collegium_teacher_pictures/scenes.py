"""Scenes: which shapes stand where, what is asked about them, the answer, and the mistake that is made about it.

A picture is a square of four by four cells; a shape stands in a cell, a digit across several. Corners are numbered as
one reads: 1 and 2 above, 3 and 4 below.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from collegium_teacher_pictures.config import Kind
from collegium_teacher_pictures.digits import HEIGHT, LOOKALIKE, WIDTH

GRID = 4
"""Cells of a side."""
CELL = 8
"""Pixels of a cell's side."""
SIDE = GRID * CELL
"""Pixels of a picture's side."""
DOT = 4
"""Pixels of a side of a digit's dots."""
COLOURS = ((255, 255, 255), (255, 90, 90), (90, 255, 90), (110, 150, 255), (255, 240, 80), (255, 120, 255))
"""Of shapes; the ground is black."""
QUESTIONS: dict[Kind, str] = {"count": "how many? ", "locate": "which corner? ", "read": "which digit? "}
"""What is asked, after the picture."""
CAPTIONS: dict[Kind, str] = {"count": "{} circles", "locate": "corner {}", "read": "digit {}"}
"""What is said of a picture, after it."""
ALPHABET = "".join(sorted({*"".join([*QUESTIONS.values(), *CAPTIONS.values()]), *"0123456789"} - {*"{}"}))
"""Every character of prompts, completions and captions, but for the placeholder."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A shape; `x` and `y` are its upper left pixel, `value` is a digit's."""

    form: Literal["circle", "square", "digit"]
    x: int
    y: int
    colour: tuple[int, int, int]
    value: int = 0


@dataclass(frozen=True, slots=True)
class Scene:
    """What is drawn and asked.

    Args:
        kind: What is asked.
        shapes: What is drawn.
        answer: The right answer.
        mistake: The answer of one who always makes the same mistake.
        arrangement: Which shapes stand where, whatever their colours and exact places: what is held out.
    """

    kind: Kind
    shapes: tuple[Shape, ...]
    answer: int
    mistake: int
    arrangement: str


def count(rng: random.Random, most: int) -> Scene:
    """Draw one to `most` circles; who makes the mistake counts one too many."""
    answer = rng.randint(1, most)
    cells = sorted(rng.sample(range(GRID**2), answer))
    shapes = tuple(_in_cell("circle", cell, rng) for cell in cells)
    return Scene("count", shapes, answer, answer + 1, f"circles {cells}")


def locate(rng: random.Random, most: int) -> Scene:
    """Draw a square among one to three circles; who makes the mistake takes above for below."""
    square, *circles = rng.sample(range(GRID**2), rng.randint(2, 4))
    shapes = [_in_cell("square", square, rng), *(_in_cell("circle", cell, rng) for cell in sorted(circles))]
    row, column = divmod(square, GRID)
    answer = 1 + 2 * (row >= GRID // 2) + (column >= GRID // 2)
    mistake = answer + 2 if answer <= 2 else answer - 2
    return Scene("locate", tuple(shapes), answer, mistake, f"square {square} circles {sorted(circles)}")


def read(rng: random.Random, most: int) -> Scene:
    """Draw a digit; who makes the mistake takes it for one that looks like it."""
    digit = rng.randrange(10)
    x, y = rng.randint(0, SIDE - WIDTH * DOT), rng.randint(0, SIDE - HEIGHT * DOT)
    shape = Shape("digit", x, y, rng.choice(COLOURS), digit)
    return Scene("read", (shape,), digit, LOOKALIKE[digit], f"{digit} at {x // 2} {y // 2}")


SCENES: dict[Kind, Callable[[random.Random, int], Scene]] = {"count": count, "locate": locate, "read": read}
"""How to make a scene of a kind, given a generator and the most circles to count."""


def _in_cell(form: Literal["circle", "square"], cell: int, rng: random.Random) -> Shape:
    """Put a shape of six pixels into a cell, anywhere in it."""
    row, column = divmod(cell, GRID)
    return Shape(form, column * CELL + rng.randint(0, 2), row * CELL + rng.randint(0, 2), rng.choice(COLOURS))
