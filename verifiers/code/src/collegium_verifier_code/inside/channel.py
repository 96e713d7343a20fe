"""Length-prefixed JSON frames over pipes and sockets, with a limit on what is read."""

from __future__ import annotations

import json
import os
import struct
from typing import Any

HEADER = struct.Struct("!I")
FRAME_LIMIT = 1 << 26


class Closed(Exception):
    """The other side is gone."""


class TooLarge(Exception):
    """A frame is larger than the reader takes."""


def read_exactly(fd: int, size: int) -> bytes:
    """Read `size` bytes.

    Raises:
        Closed: If the stream ends before that.
    """
    parts: list[bytes] = []
    while size:
        part = os.read(fd, min(size, 1 << 20))
        if not part:
            raise Closed
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def read_frame(fd: int, limit: int = FRAME_LIMIT) -> Any:
    """Read one value.

    Raises:
        Closed: If the stream ends first.
        TooLarge: If the frame announces more than `limit` bytes.
        ValueError: If the bytes are not JSON.
    """
    (size,) = HEADER.unpack(read_exactly(fd, HEADER.size))
    if size > limit:
        raise TooLarge(f"{size} bytes, at most {limit} are taken")
    return json.loads(read_exactly(fd, size))


def write_frame(fd: int, value: Any) -> None:
    """Write one value.

    Raises:
        Closed: If nobody can read it.
    """
    text = json.dumps(value, separators=(",", ":")).encode()
    rest = memoryview(HEADER.pack(len(text)) + text)
    try:
        while rest:
            rest = rest[os.write(fd, rest) :]
    except (BrokenPipeError, ConnectionResetError):
        raise Closed from None
