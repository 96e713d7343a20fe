"""Ten digits of three by five dots."""

from __future__ import annotations

ROWS = {
    0: ("###", "#.#", "#.#", "#.#", "###"),
    1: (".#.", "##.", ".#.", ".#.", "###"),
    2: ("###", "..#", "###", "#..", "###"),
    3: ("###", "..#", ".##", "..#", "###"),
    4: ("#.#", "#.#", "###", "..#", "..#"),
    5: ("###", "#..", "###", "..#", "###"),
    6: ("###", "#..", "###", "#.#", "###"),
    7: ("###", "..#", ".#.", ".#.", ".#."),
    8: ("###", "#.#", "###", "#.#", "###"),
    9: ("###", "#.#", "###", "..#", "###"),
}
"""Rows from the top; ``#`` is a dot."""

WIDTH, HEIGHT = 3, 5

LOOKALIKE = {0: 8, 8: 0, 1: 7, 7: 1, 2: 3, 3: 2, 4: 9, 9: 4, 5: 6, 6: 5}
"""What a digit is mistaken for."""


def dots(digit: int) -> list[tuple[int, int]]:
    """Return a digit's dots as ``(column, row)`` from its upper left corner."""
    return [(x, y) for y, row in enumerate(ROWS[digit]) for x, mark in enumerate(row) if mark == "#"]
