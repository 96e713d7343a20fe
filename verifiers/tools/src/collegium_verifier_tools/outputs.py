"""Find the facts that an agent had to tell its user."""

from __future__ import annotations

import re
from collections.abc import Sequence


def unsaid(outputs: Sequence[str], said: Sequence[str]) -> str | None:
    """Return the first output that stands in none of the agent's messages, or None.

    Case and the commas of the messages are overlooked. A number must stand as a whole: ``10`` is not in ``2010``,
    and is in ``10.00``; ``481.5`` is in ``481.50``.
    """
    messages = [message.lower().replace(",", "") for message in said]
    for output in outputs:
        pattern = _pattern(output.lower().replace(",", ""))
        if not any(pattern.search(message) for message in messages):
            return output
    return None


def _pattern(output: str) -> re.Pattern[str]:
    before = r"(?<!\d)(?<!\d\.)" if output[:1].isdigit() else ""
    if not output[-1:].isdigit():
        return re.compile(before + re.escape(output))
    zeros = "0*" if re.search(r"\.\d+$", output) else r"(?:\.0+)?"
    return re.compile(before + re.escape(output) + zeros + r"(?!\d)(?!\.\d)")
