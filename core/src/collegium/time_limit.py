"""A time limit on a call: it runs in a worker thread, and is abandoned when its time is up."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class TimeLimitExceeded(Exception):
    """The call was still running when its time was up; `thread` runs on."""

    def __init__(self, seconds: float, thread: threading.Thread) -> None:
        super().__init__(f"still running after {seconds:g} s")
        self.thread = thread


class CallFailed(Exception):
    """The call raised; `cause` is what it raised."""

    def __init__(self, cause: BaseException) -> None:
        # Exceptions whose text cannot be made are told as such by the traceback module.
        super().__init__("raised " + traceback.format_exception_only(cause)[-1].strip())
        self.cause = cause


class _Call(threading.Thread):
    """One call in a daemon thread, with its result or what it raised."""

    def __init__(self, function: Callable[[], T]) -> None:
        super().__init__(name="collegium-judge", daemon=True)
        self.function = function
        self.result: T | None = None
        self.raised: BaseException | None = None

    def run(self) -> None:
        # SystemExit and its like are caught too: a plugin that calls sys.exit() has failed, and the caller must know.
        try:
            self.result = self.function()
        except BaseException as error:
            self.raised = error


def call_within(seconds: float, function: Callable[[], T]) -> T:
    """Call `function` in a worker thread and return its result, or say that it failed.

    Python cannot stop a thread. A call that exceeds its time is abandoned: its thread goes on, takes a share of the
    processor, and dies with the process. If it holds the interpreter's lock inside C code (a huge integer power, a
    pathological regular expression) not even this limit can act; such work belongs in a process of its own.

    Raises:
        CallFailed: If it raised; what the waiting thread itself receives (such as KeyboardInterrupt) is not wrapped.
        TimeLimitExceeded: If it is still running after `seconds`.
    """
    call = _Call(function)
    call.start()
    call.join(seconds)
    if call.is_alive():
        raise TimeLimitExceeded(seconds, call)
    if call.raised is not None:
        raise CallFailed(call.raised) from call.raised
    return call.result  # type: ignore[return-value]  # a finished call without an exception has its result
