"""A guard against `os._exit`: a plugin that calls it would end the whole process at once, without a word."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import NoReturn

_real_exit = os._exit
_guards = 0
_lock = threading.Lock()


class ExitRefused(SystemExit):
    """A plugin called `os._exit` in the framework's own process."""


@contextlib.contextmanager
def exit_refused() -> Iterator[None]:
    """Let `os._exit` raise `ExitRefused`, as `sys.exit` does, while any thread is in here; forked children may exit."""
    global _guards
    process = os.getpid()

    def refuse(status: int) -> NoReturn:
        if os.getpid() != process:
            _real_exit(status)
        raise ExitRefused(f"it called os._exit({status}), which would end the whole process")

    with _lock:
        _guards += 1
        if _guards == 1:
            os._exit = refuse
    try:
        yield
    finally:
        with _lock:
            _guards -= 1
            if not _guards:
                os._exit = _real_exit
