"""Run a submission as a program: feed its standard input, take its standard output up to a limit, wait for its end."""

from __future__ import annotations

import os
import selectors
import time
from dataclasses import dataclass, field
from typing import Any

STDERR_TAIL = 2000


@dataclass(slots=True)
class Streams:
    """The grader's ends of a program's standard streams, and what went through them."""

    stdin: int
    stdout: int
    stderr: int
    rest: bytes = b""
    out: bytearray = field(default_factory=bytearray)
    err: bytearray = field(default_factory=bytearray)


def run(streams: Streams, pid: int, timeout_s: float, output_limit: int) -> dict[str, Any]:
    """Let the program run to its end.

    Returns:
        ``{"stdout": text, "stderr": tail, "status": exit status (negative: signal), "cause": why it was stopped}``.
    """
    deadline = time.monotonic() + timeout_s
    cause = _pump(streams, deadline, output_limit)
    status = None if cause else _wait(pid, deadline)
    if status is None:
        cause = cause or f"timed out after {timeout_s:g} s"
    return {
        "stdout": streams.out.decode("utf-8", "replace"),
        "stderr": streams.err[-STDERR_TAIL:].decode("utf-8", "replace"),
        "status": status,
        "cause": cause,
    }


def _pump(streams: Streams, deadline: float, output_limit: int) -> str:
    """Move bytes until both outputs are closed; returns why it stopped before that, or nothing."""
    with selectors.DefaultSelector() as selector:
        os.set_blocking(streams.stdin, False)
        selector.register(streams.stdin, selectors.EVENT_WRITE)
        for fd in (streams.stdout, streams.stderr):
            selector.register(fd, selectors.EVENT_READ)
        while any(key.events == selectors.EVENT_READ for key in selector.get_map().values()):
            left = deadline - time.monotonic()
            if left <= 0:
                return "timed out"
            for key, _ in selector.select(left):
                if not _move(streams, key.fd):
                    selector.unregister(key.fd)
                    os.close(key.fd)
            if len(streams.out) > output_limit:
                return f"output limit: more than {output_limit} bytes"
    return ""


def _move(streams: Streams, fd: int) -> bool:
    """Move what one stream takes or gives; False at its end."""
    if fd == streams.stdin:
        try:
            streams.rest = streams.rest[os.write(fd, streams.rest) :] if streams.rest else b""
        except BrokenPipeError:
            return False
        return bool(streams.rest)
    part = os.read(fd, 1 << 16)
    target = streams.out if fd == streams.stdout else streams.err
    target += part
    if fd == streams.stderr:
        del target[:-STDERR_TAIL]
    return bool(part)


def _wait(pid: int, deadline: float) -> int | None:
    """Wait for the program; None if it does not end in time."""
    descriptor = os.pidfd_open(pid)
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        if not selector.select(max(0.0, deadline - time.monotonic())):
            return None
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
