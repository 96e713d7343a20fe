"""What every package that talks to an HTTP service needs: its API key kept out of all that is told, and `Retry-After`.

A service may echo the key, as it is or encoded.
"""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

SHORTEST_BASE64 = 8
"""Characters of base64 that are looked for; fewer would be found in ordinary words."""


class KeyMask:
    """Replaces a key by ``[key]``: plain, JSON-escaped, URL-encoded, as HTML entities, and inside base64."""

    def __init__(self, key: str) -> None:
        texts = [key, *base64_forms(key)] if key else []
        spellings = ["".join(map(_spellings, text)) for text in texts]
        self._pattern = re.compile("|".join(spellings)) if spellings else None

    def __call__(self, text: str) -> str:
        """Return the text without the key."""
        return self._pattern.sub("[key]", text) if self._pattern else text

    def filter(self, record: logging.LogRecord) -> bool:
        """Mask a log record, and let it pass."""
        record.msg, record.args = self(record.getMessage()), ()
        return True


def retry_after(header: str | None, now: datetime) -> float:
    """Return the seconds that a ``Retry-After`` header asks for (a number, or an HTTP date); 0 if it is not valid."""
    if header is None:
        return 0.0
    if header.strip().isdecimal() and header.isascii():
        return min(float(header), 1e9)
    try:
        moment = parsedate_to_datetime(header)
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return max(0.0, ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now).total_seconds())


def base64_forms(key: str) -> Iterator[str]:
    """Yield what base64 of a longer text shows of the key, at each of the three offsets that it may have there."""
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + key.encode()).decode()
        # A character that also encodes bits of the key's neighbours is not the same in every text.
        own = encoded[-(-offset * 8 // 6) : (offset + len(key)) * 8 // 6]
        if len(own) >= SHORTEST_BASE64:
            yield own
            yield own.replace("+", "-").replace("/", "_")


def _spellings(character: str) -> str:
    """Return a pattern of the ways to write a character; repetitions are bounded, so that the search stays linear."""
    code = f"(?i:{ord(character):02x})"
    escaped = rf"\\{{1,8}}(?:u00|x){code}"
    percent = f"%(?:25){{0,3}}{code}"
    entity = f"&#(?:0{{0,4}}{ord(character)}|[xX]0{{0,4}}{code});"
    return rf"(?:{escaped}|{percent}|{entity}|\\{{0,8}}{re.escape(character)})"
