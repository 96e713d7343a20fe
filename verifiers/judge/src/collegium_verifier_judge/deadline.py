"""A time limit on a whole exchange. The client's own limits are per read, which a service that trickles never meets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any


class Deadline:
    """Shuts the connection of one request down when its time is up, whatever is being read then.

    Args:
        seconds: From entering the context.
    """

    def __init__(self, seconds: float) -> None:
        self.over = threading.Event()
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> Deadline:
        """Start the time."""
        self._timer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop it."""
        self._timer.cancel()

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Note the connection; for the request extension ``trace`` of httpx."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            with self._lock:
                self._socket = info["return_value"].get_extra_info("socket")
            if self.over.is_set():
                self._shut()

    def _end(self) -> None:
        self.over.set()
        self._shut()

    def _shut(self) -> None:
        with self._lock, suppress(OSError):  # the other side, or the client, may have closed it already
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_RDWR)
