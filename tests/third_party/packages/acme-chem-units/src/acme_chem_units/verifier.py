"""The verifier `units`: a number and a unit, compared after conversion."""

from __future__ import annotations

import re

from pydantic import Field

from collegium import Completion, Config, Score, Task, Verdict, Verifier

BASES = ("mol", "g", "L")
PREFIXES = {"": 1.0, "k": 1e3, "m": 1e-3, "u": 1e-6}
QUANTITY = re.compile(r"\s*([0-9]{1,15}(?:\.[0-9]{1,15})?)\s{0,3}([kmu]?)(mol|g|L)\s*")


class UnitsConfig(Config):
    """Options of the verifier `units`."""

    tolerance: float = Field(default=1e-6, ge=0, lt=1)
    """Relative tolerance."""


class UnitsVerifier(Verifier):
    """Right if the completion is the reference's quantity, in any prefix of the same base unit."""

    Config = UnitsConfig

    def verify(self, completion: Completion, task: Task) -> Verdict:
        """Compare two quantities.

        Raises:
            ValueError: If the task's reference is no quantity.
        """
        gold = read_quantity(task.reference or "")
        if gold is None:
            raise ValueError(f"the reference {task.reference!r} of task {task.id!r} is no quantity")
        found = read_quantity(completion.text)
        if found is None or found[1] != gold[1]:
            return Score(0.0, {"read": found})
        return Score(float(abs(found[0] - gold[0]) <= self.config.tolerance * gold[0]), {"read": found})


def read_quantity(text: str) -> tuple[float, str] | None:
    """Return (value in the base unit, base unit), or None if the text is anything but one quantity."""
    read = QUANTITY.fullmatch(text)
    return (float(read[1]) * PREFIXES[read[2]], read[3]) if read else None
