"""Scenes: which shapes stand where, what is asked about them, the answer, and the mistake that is made about it.

A picture is a square of four by four cells; a circle stands in a cell, a square or a digit across several. Corners are
numbered as one reads: 1 and 2 above, 3 and 4 below.
"""

from __future__ import annotations

import random
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
    shapes = tuple(_in_cell(cell, rng) for cell in cells)
    return Scene("count", shapes, answer, answer + 1, f"circles {cells}")


def locate(rng: random.Random) -> Scene:
    """Draw a large square in a corner and a circle or two elsewhere; who makes the mistake takes above for below."""
    answer = rng.randint(1, 4)
    row, column = divmod(answer - 1, 2)
    others = [cell for cell in range(GRID**2) if (cell // GRID // 2, cell % GRID // 2) != (row, column)]
    circles = sorted(rng.sample(others, rng.randint(1, 2)))
    place = [half * SIDE // 2 + rng.randint(0, 2) for half in (column, row)]
    square = Shape("square", place[0], place[1], _colour(rng))
    shapes = (square, *(_in_cell(cell, rng) for cell in circles))
    mistake = answer + 2 if answer <= 2 else answer - 2
    return Scene("locate", shapes, answer, mistake, f"square {answer} circles {circles}")


def read(rng: random.Random) -> Scene:
    """Draw a digit; who makes the mistake takes it for one that looks like it."""
    digit = rng.randrange(10)
    x, y = rng.randint(0, SIDE // DOT - WIDTH), rng.randint(0, SIDE // DOT - HEIGHT)
    shape = Shape("digit", x * DOT, y * DOT, _colour(rng), digit)
    return Scene("read", (shape,), digit, LOOKALIKE[digit], f"{digit} at {x} {y}")


def scene_of(kind: Kind, rng: random.Random, most: int) -> Scene:
    """Draw a scene of a kind, with at most `most` circles to count."""
    if kind == "count":
        return count(rng, most)
    return locate(rng) if kind == "locate" else read(rng)


def _in_cell(cell: int, rng: random.Random) -> Shape:
    """Put a circle of six pixels into a cell, anywhere in it."""
    row, column = divmod(cell, GRID)
    return Shape("circle", column * CELL + rng.randint(0, 2), row * CELL + rng.randint(0, 2), _colour(rng))


def _colour(rng: random.Random) -> tuple[int, int, int]:
    """Draw a colour, in one of many shades."""
    red, green, blue = rng.choice(COLOURS)
    shade = rng.randint(60, 100)
    return red * shade // 100, green * shade // 100, blue * shade // 100
