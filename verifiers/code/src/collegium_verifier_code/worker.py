"""One warm sandbox, seen from the trainer: start it, hand it items, be sure that it ends.

Only JSON crosses between the two, and the trainer never looks into what a submission says beyond that.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

from collegium_verifier_code.hints import explain
from collegium_verifier_code.inside.channel import Closed, TooLarge, read_frame, write_frame
from collegium_verifier_code.inside.limits import Limits

BOOT = Path(__file__).parent / "inside" / "boot.py"
START_LIMIT_S = 30.0
INNER_USER = 65534
OUTER_USER = 0x6C0C0DE0
"""The user that submissions run as where the trainer is root: one that no account has."""
# Set iteration order must not differ between workers: the same completion gets the same verdict.
ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    "PYTHONUTF8": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
}


class WorkerLost(Exception):
    """The sandbox ended or fell silent; another one can take the item."""


class Worker:
    """A warm sandbox.

    Args:
        limits: What each submission may use.

    Raises:
        VerifierError: If the sandbox cannot be made here.
    """

    def __init__(self, limits: Limits) -> None:
        self._socket, theirs = socket.socketpair()
        _limit(self._socket, START_LIMIT_S)
        with theirs:
            self._process = self._start(theirs, limits)
        try:
            self._build()
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Process id of the sandbox's outermost process."""
        return self._process.pid

    def judge(self, item: dict[str, Any], limit_s: float) -> dict[str, Any]:
        """Hand over one item and wait for the report.

        Raises:
            TimeoutError: If no report comes within `limit_s`; the worker is of no use afterwards.
            WorkerLost: If the sandbox ended.
        """
        _limit(self._socket, limit_s)
        try:
            write_frame(self._socket.fileno(), item)
            report = read_frame(self._socket.fileno())
        except BlockingIOError as error:
            raise TimeoutError(f"no report within {limit_s:g} s") from error
        except (Closed, TooLarge, ValueError, OSError) as error:
            raise WorkerLost(f"{type(error).__name__}: {error}") from error
        if not isinstance(report, dict):
            raise WorkerLost(f"a report of type {type(report).__name__}")
        return report

    def close(self) -> None:
        """End the sandbox and all in it, and wait until that has happened."""
        with contextlib.suppress(OSError):  # closed before, or the other end is gone
            self._socket.shutdown(socket.SHUT_RDWR)  # pid 1 of the sandbox ends, and the kernel kills the rest
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stderr is not None:
            self._process.stderr.close()
        self._socket.close()

    def _start(self, theirs: socket.socket, limits: Limits) -> subprocess.Popen[bytes]:
        interpreter = getattr(sys, "_base_executable", None) or sys.executable  # not the virtual environment's
        fd = theirs.fileno()
        return subprocess.Popen(
            [interpreter, "-s", "-S", "-P", str(BOOT), str(fd), json.dumps(dataclasses.asdict(limits))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=(fd,),
            env=ENVIRONMENT,
            cwd="/",
            start_new_session=True,  # the terminal's Ctrl-C is for the trainer
        )

    def _build(self) -> None:
        """Take part in building the sandbox: only a process outside it can map its users."""
        self._expect("unshared")
        try:
            user = map_users(self.pid)
        except OSError as error:
            raise explain(f"user ids: {error}") from error
        write_frame(self._socket.fileno(), {"user": user})
        self._expect("ready")

    def _expect(self, state: str) -> None:
        try:
            message = read_frame(self._socket.fileno())
        except (Closed, OSError, ValueError) as error:
            raise explain(f"the sandbox's process ended or fell silent ({self._last_words() or error})") from error
        if message.get("state") != state:
            raise explain(str(message.get("why")))

    def _last_words(self) -> str:
        self._process.kill()
        assert self._process.stderr is not None
        return self._process.stderr.read(4000).decode("utf-8", "replace").strip()[-500:]


def map_users(pid: int) -> int | None:
    """Map the sandbox's user ids; returns the inner id that submissions take, or None if there is only one.

    Root maps a second, otherwise unused id, so that submissions are not root even outside. Anyone else can only map
    himself, and so can a container's root: the walls are then the same but for that one.
    """
    if os.geteuid() == 0:
        with contextlib.suppress(PermissionError):  # a root of a user namespace that lacks the second id
            _write_maps(pid, f"0 0 1\n{INNER_USER} {OUTER_USER} 1", f"0 0 1\n{INNER_USER} {OUTER_USER} 1")
            return INNER_USER
    map_one_user(pid)
    return None


def map_one_user(pid: int) -> None:
    """Map the trainer's own user only, which needs no privilege."""
    Path(f"/proc/{pid}/setgroups").write_text("deny")
    _write_maps(pid, f"0 {os.geteuid()} 1", f"0 {os.getegid()} 1")


def _write_maps(pid: int, users: str, groups: str) -> None:
    Path(f"/proc/{pid}/uid_map").write_text(users)
    Path(f"/proc/{pid}/gid_map").write_text(groups)


def _limit(connection: socket.socket, seconds: float) -> None:
    """Limit every read and write, in the kernel, so that the descriptor itself stays blocking."""
    value = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)
