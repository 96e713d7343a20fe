"""A server of one's own: started in a session of its own, watched, and stopped with everything it started."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from collegium import EngineError
from collegium.endpoints import KeyMask
from collegium_vllm.errors import engine_error

LOG_LINES = 25
"""Lines of the server's log that an error shows."""
POLL_S = 0.2
GRACE_S = 15.0
"""Seconds that a server has to end by itself before it is killed."""


class ServerProcess:
    """A server that this process owns.

    Args:
        command: What to run.
        environment: Its environment.
        folder: A folder of its own, deleted when it is stopped; its log is in it.
        secret: A text that never appears in an error.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], folder: Path, secret: str = "") -> None:
        self.log = folder / "server.log"
        self._folder = folder
        self._mask = KeyMask(secret)
        supervised = [sys.executable, "-m", "collegium_vllm.supervise", str(os.getpid()), str(folder), *command]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                supervised, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=dict(environment),
                start_new_session=True,
            )  # fmt: skip

    @property
    def pid(self) -> int:
        """The process group of the server and of all that it started."""
        return self._process.pid

    def wait_until(self, is_ready: Callable[[], bool], timeout: float) -> None:
        """Wait until the server is ready; on failure stop it.

        Args:
            is_ready: Asks for the server; what it raises ends the wait. Another server may answer in its place, so it
                counts only while this one runs.
            timeout: Seconds.

        Raises:
            EngineError: If it ends, or is not ready in time; shows the end of its log.
        """
        deadline = time.monotonic() + timeout
        try:
            while not self._is_up(is_ready):
                if time.monotonic() > deadline:
                    raise self.error(f"the server was not ready within {timeout:g} s (startup_timeout_s)")
                time.sleep(POLL_S)
        except BaseException:
            self.stop()
            raise

    def _is_up(self, is_ready: Callable[[], bool]) -> bool:
        ready = not self.has_ended() and is_ready()
        if self.has_ended():
            raise self.error("the server ended while it started")
        return ready

    def has_ended(self, within: float = 0.0) -> bool:
        """Tell whether it has ended, or does so within some seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(within)
        return self._process.poll() is not None

    def error(self, what: str) -> EngineError:
        """Return an error that shows the end of the log."""
        return engine_error(
            f"{self._mask(what)}; the end of its log:\n{self.tail()}",
            fix="mend what the log says; `collegium resume` goes on from the last checkpoint",
        )

    def tail(self) -> str:
        """Return the log's last lines, without the secret."""
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            return f"(no log: {error})"
        return "\n".join(f"    | {line[:500]}" for line in self._mask(text).splitlines()[-LOG_LINES:])

    def stop(self) -> None:
        """End the server and all that it started, politely at first, and delete its folder."""
        self._signal(signal.SIGTERM)
        if not self.has_ended(GRACE_S):
            self._signal(signal.SIGKILL)
            self._process.wait()
        self._signal(signal.SIGKILL)  # what the server left behind in its group
        shutil.rmtree(self._folder, ignore_errors=True)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
