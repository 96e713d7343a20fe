r"""Times of day: ``3:30 pm``, ``\text{1:03 PM}``."""

from __future__ import annotations

import re

_TIME = re.compile(r"(\d{1,2}):([0-5]\d)\s*(?:([ap])\.?\s*m\.?)?", re.IGNORECASE)
_DRESS = re.compile(r"\\(?:text|mbox|mathrm|textrm)\s*\{|[{}$~\\]")
LONGEST = 60
"""Characters of a text that may be a time."""


def clock_time(text: str) -> tuple[int, int, str] | None:
    """Return (hour, minute, ``"a"`` or ``"p"`` or nothing), or None if the text is anything but a time of day."""
    if len(text) > LONGEST:
        return None
    found = _TIME.fullmatch(_DRESS.sub(" ", text).strip(" ."))
    if found is None or int(found[1]) > 23:
        return None
    return int(found[1]), int(found[2]), (found[3] or "").lower()


def same_time(gold: tuple[int, int, str], answer: tuple[int, int, str]) -> bool:
    """Say whether two times are the same; before or after noon counts where both say it."""
    halves = {half for half in (gold[2], answer[2]) if half}
    return gold[:2] == answer[:2] and len(halves) <= 1
