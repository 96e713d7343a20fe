"""The API key kept out of everything that is told or kept: a service may echo it, as it is or encoded."""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Iterator

SHORTEST_BASE64 = 8
"""Characters of base64 that are looked for; fewer would be found in ordinary words."""


class Mask:
    """Replaces a key by ``[key]``, also JSON-escaped, URL-encoded, as HTML entities, and within base64."""

    def __init__(self, key: str) -> None:
        forms = [key, *_in_base64(key)] if key else []
        self._pattern = re.compile("|".join("".join(map(_written, form)) for form in forms)) if forms else None

    def __call__(self, text: str) -> str:
        """Return the text without the key."""
        return self._pattern.sub("[key]", text) if self._pattern else text

    def filter(self, record: logging.LogRecord) -> bool:
        """Mask a log record, and let it pass."""
        record.msg, record.args = self(record.getMessage()), ()
        return True


def _written(character: str) -> str:
    """Return a pattern of the ways to write a character; backslashes are bounded, so that the search stays linear."""
    code = f"{ord(character):02x}"
    ways = (rf"\\{{1,8}}u00(?i:{code})", rf"\\{{1,8}}x(?i:{code})", f"%(?:25){{0,3}}(?i:{code})")
    entities = f"&#(?:0{{0,4}}{ord(character)}|[xX]0{{0,4}}(?i:{code}));"
    return f"(?:{'|'.join(ways)}|{entities}|\\\\{{0,8}}{re.escape(character)})"


def _in_base64(key: str) -> Iterator[str]:
    """Yield what base64 of a longer text holds of the key, for each of the three places where it may begin."""
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + key.encode()).decode()
        # The first and the last characters also depend on what surrounds the key.
        whole = encoded[-(-before * 8 // 6) : (before + len(key)) * 8 // 6]
        if len(whole) >= SHORTEST_BASE64:
            yield whole
            yield whole.translate(str.maketrans("+/", "-_"))
