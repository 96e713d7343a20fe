"""A small pool of persistent worker processes: started on first use, replaced when one dies."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Literal

STARTUP_S = 120.0
"""Most seconds that a worker may take to import its libraries."""
ITS_OWN_FAULT = (-signal.SIGPROF, -signal.SIGSEGV, -signal.SIGABRT)
"""Exit codes that an answer causes: out of CPU time, stack overflow in C, allocation failure in C."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a worker found.

    Args:
        kind: ``judged``, or what stood in the way: the ``gold`` answer cannot be parsed, the ``answer`` exceeds the
            limits, or the worker ``failed`` for a reason outside both.
        equal: Whether the answer equals the gold answer.
        parsed: Whether the answer could be read at all.
        note: Details, in one line.
    """

    kind: Literal["judged", "gold", "answer", "failed"]
    equal: bool = False
    parsed: bool = False
    note: str = ""


class WorkerGone(Exception):
    """The worker ended or went silent; the message says how, `code` is its exit code if it ended by itself."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class Worker:
    """One worker process and the pipe to it. Used by one thread at a time."""

    def __init__(self) -> None:
        # A file, because a pipe that nobody reads would block the worker when full; `close` closes it.
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        command = [sys.executable, "-P", "-m", "collegium_verifier_math.worker"]
        # No more of the trainer's environment than Python needs: the worker reads a model's text.
        environment = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TMPDIR") if name in os.environ}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr, env=environment
        )
        self._buffer = b""
        self._receive(STARTUP_S)

    def ask(self, gold: str, answer: str, *, cpu_s: float) -> Outcome:
        """Return what the worker says; after `WorkerGone` inside, the worker is not `alive`."""
        wall_s = 10 * cpu_s + 20
        try:
            self._send({"gold": gold, "answer": answer, "cpu_s": cpu_s})
            if not self._receive(wall_s)["gold"]:
                return Outcome("gold", note="cannot be parsed")
        except WorkerGone as gone:
            kind: Literal["gold", "failed"] = "gold" if gone.code in ITS_OWN_FAULT else "failed"
            return Outcome(kind, note=str(gone))
        try:
            reply = self._receive(wall_s)
        except WorkerGone as gone:
            return Outcome("answer" if gone.code in ITS_OWN_FAULT else "failed", note=str(gone))
        if "problem" in reply:
            return Outcome("answer", note=f"the parser gave up: {reply['problem']}")
        return Outcome("judged", equal=reply["equal"], parsed=reply["parsed"])

    @property
    def alive(self) -> bool:
        """Whether the process can take another question."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the process and release its pipes."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._stderr):
            if pipe is not None:
                _close_quietly(pipe)

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._gone() from None

    def _receive(self, seconds: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    self._process.kill()
                    self._process.wait()
                    raise WorkerGone(f"no reply within {seconds:g} s")
                chunk = os.read(self._process.stdout.fileno(), 65536)
                if not chunk:
                    raise self._gone()
                self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def _gone(self) -> WorkerGone:
        code = self._process.wait()
        if code == -signal.SIGPROF:
            return WorkerGone("CPU time limit exceeded", code)
        self._stderr.seek(0)
        said = self._stderr.read()[-300:].decode(errors="replace").strip()
        return WorkerGone(f"worker process ended with code {code}" + (f": {said}" if said else ""), code)


class WorkerPool:
    """Up to `size` workers, shared by any number of threads.

    Args:
        size: Most processes.
        cpu_s: CPU seconds that one question may take.
    """

    def __init__(self, size: int, cpu_s: float) -> None:
        self.size = size
        self.cpu_s = cpu_s
        self.started = 0
        """Processes started so far, replacements included."""
        self._idle: SimpleQueue[Worker | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._owner = os.getpid()
        for _ in range(size):
            self._idle.put(None)  # a place in which no process has been started yet

    def ask(self, gold: str, answer: str) -> Outcome:
        """Ask the next free worker; waits for one."""
        if os.getpid() != self._owner:
            return Outcome(
                "failed", note="the verifier was copied by fork, and its workers' pipes with it: build it anew"
            )
        worker = self._idle.get()
        try:
            if worker is None:
                worker = self._start()
            return worker.ask(gold, answer, cpu_s=self.cpu_s)
        except (WorkerGone, OSError) as error:
            return Outcome("failed", note=f"no worker process: {error}")
        finally:
            self._give_back(worker)

    def close(self) -> None:
        """End every worker; a question that is being judged is let finish first."""
        self._closed = True
        for _ in range(self.size):
            worker = self._idle.get()
            if worker is not None:
                worker.close()
        for _ in range(self.size):
            self._idle.put(None)

    def _start(self) -> Worker:
        if self._closed:
            raise WorkerGone("the verifier is closed")
        with self._lock:
            self.started += 1
        return Worker()

    def _give_back(self, worker: Worker | None) -> None:
        if worker is not None and not worker.alive:
            worker.close()
            worker = None
        self._idle.put(worker)


def _close_quietly(pipe: Any) -> None:
    try:
        pipe.close()
    except BrokenPipeError:
        return  # what was still to be written was for a process that is gone
