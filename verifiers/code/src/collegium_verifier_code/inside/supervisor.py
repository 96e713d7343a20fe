"""Pid 1 of the sandbox: forks a grader per item and leaves nothing of it behind.

It never reads an item (it only peeks at the first, constant byte), so that no test is ever in the memory that a
submission is forked from.
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import select
import signal
import socket
from typing import Any

from collegium_verifier_code.inside import grader, kernel, root, runner, submission
from collegium_verifier_code.inside.channel import read_frame, write_frame
from collegium_verifier_code.inside.limits import MEGABYTE, Limits, restrict
from collegium_verifier_code.inside.session import NotConfined, Session

GRADER_MEMORY = 1024 * MEGABYTE
"""Keeps a test that meets a hostile value from taking the machine's memory."""


class Supervisor:
    """The loop over items.

    Args:
        host: Socket to the trainer's process.
        limits: What each submission may use.
        user: User id for submissions, or None where the sandbox has only one.
    """

    def __init__(self, host: socket.socket, limits: Limits, user: int | None) -> None:
        self.host, self.limits, self.user = host, limits, user
        self.scratch = root.Scratch(limits.scratch_mb)

    def run(self) -> None:
        """Serve items until the trainer hangs up or dies."""
        gc.freeze()
        while self._item_waits():
            pid = os.fork()
            if pid == 0:
                self._be_grader()
            alive = self._watch(pid)
            crashed = self._clear(pid) != 0
            if not alive:
                return
            if crashed:
                write_frame(self.host.fileno(), {"error": "the grader ended without a verdict"})

    def _item_waits(self) -> bool:
        """Wait for an item; False at the trainer's end."""
        return bool(self.host.recv(1, socket.MSG_PEEK))

    def _watch(self, pid: int) -> bool:
        """Wait for the grader; False if the trainer went away meanwhile."""
        descriptor = os.pidfd_open(pid)
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.register(self.host, select.POLLRDHUP)
        events = dict(poll.poll())
        os.close(descriptor)
        return self.host.fileno() not in events

    def _clear(self, grader_pid: int) -> int:
        """Kill all that is left of an item; returns the grader's exit status."""
        with contextlib.suppress(ProcessLookupError):  # nothing is left
            os.kill(-1, signal.SIGKILL)
        status = 1
        with contextlib.suppress(ChildProcessError):  # all are reaped
            while True:
                pid, code = os.waitpid(-1, 0)
                status = code if pid == grader_pid else status
        self.scratch.renew()
        return status

    def _be_grader(self) -> None:
        """Fork the submission, then read and judge the item; never returns."""
        status = 1
        try:
            handle_item(self.host.fileno(), self.limits, self.user)
            status = 0
        finally:
            os._exit(status)


def handle_item(host: int, limits: Limits, user: int | None) -> None:
    """Judge one item from `host` and write the report to it."""
    pipes = [os.pipe() for _ in range(5)]
    (requests, ours_out), (ours_in, replies), (stdin, feed), (out, stdout), (err, stderr) = pipes
    kernel.unshare(kernel.CLONE_NEWPID)
    pid = os.fork()
    if pid == 0:
        submission.main(submission.Pipes(requests, replies, stdin, stdout, stderr), limits, user)
    for fd in (requests, replies, stdin, stdout, stderr):
        os.close(fd)
    kernel.drop_capabilities()
    restrict(resource.RLIMIT_AS, GRADER_MEMORY)
    item = read_frame(host)
    session = Session(ours_out, ours_in, limits.output_kb * 1024)
    try:
        session.start()
    except NotConfined:
        write_frame(host, {"error": "the submission's process could not give up its rights; nothing was run"})
        return
    if item["mode"] == "program":
        write_frame(ours_out, {"mode": "program", "source": item["source"]})
        streams = runner.Streams(feed, out, err, item["stdin"].encode("utf-8", "surrogatepass"))
        report: dict[str, Any] = runner.run(streams, pid, item["timeout_s"], limits.output_kb * 1024)
    else:
        for fd in (feed, out, err):
            os.close(fd)
        report = grader.grade(item, session)
    write_frame(host, report)
