"""The fresh process: import a plugin, build a component by name, exercise it in a worker thread, and say what it did.

``python -m collegium.testing.conformance.probe`` reads a request from standard input and prints one JSON object.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

HEAVY = (
    "accelerate",
    "datasets",
    "deepspeed",
    "jax",
    "numpy",
    "pandas",
    "ray",
    "scipy",
    "sklearn",
    "sympy",
    "tensorflow",
    "torch",
    "transformers",
    "vllm",
)
"""Modules that an entry-point module must not bring in: it is imported at every start of the command line."""
CONNECTING = ("socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg")
LOOKING_UP = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")


class Watch:
    """Records network use, files written and signals set, by audit events and by wrapping `signal`."""

    def __init__(self) -> None:
        self.sockets: set[str] = set()
        self.writes: set[str] = set()
        self.signals: set[str] = set()
        self.running = False
        self.here = Path.cwd().resolve()
        self.temporary = Path(tempfile.gettempdir()).resolve()

    def start(self) -> None:
        """Watch from now on; an audit hook stays for the life of the process."""
        sys.addaudithook(self._audit)
        for name in ("alarm", "setitimer", "signal"):
            if hasattr(signal, name):
                setattr(signal, name, self._recorded(name, getattr(signal, name)))

    def _recorded(self, name: str, function: Any) -> Any:
        def call(*arguments: Any) -> Any:
            self.signals.add(f"signal.{name} in {sys._getframe(1).f_globals.get('__name__')}")
            return function(*arguments)

        return call

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            self._opened(*arguments)
        elif event in ("os.mkdir", "os.rename", "os.remove", "os.symlink", "os.truncate"):
            self._written(arguments[0])
        elif event in LOOKING_UP:
            self.sockets.add(f"{event} {arguments[0]!r}")
        elif event in CONNECTING and arguments[0].family != socket.AF_UNIX:
            self.sockets.add(f"{event} {arguments[1]!r}")
        elif event == "socket.__new__" and self.running and arguments[1] in (socket.AF_INET, socket.AF_INET6):
            self.sockets.add("a network socket was opened")

    def _opened(self, path: Any, mode: Any, flags: Any) -> None:
        writing = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writing or (isinstance(mode, str) and set(mode) & set("wax+")):
            self._written(path)

    def _written(self, path: Any) -> None:
        if not isinstance(path, (str, bytes)):
            return
        where = Path(os.path.abspath(os.fsdecode(path)))
        if where.is_relative_to(self.here):
            self.writes.add(str(where.relative_to(self.here)))
        elif not any(where.is_relative_to(allowed) for allowed in (self.temporary, "/dev", "/proc")):
            self.writes.add(str(where))

    def left_behind(self) -> set[str]:
        """Return what lies in the working directory, written by whatever process."""
        return {str(path.relative_to(self.here)) for path in self.here.rglob("*")}


def imported_heavy(module: str) -> list[str]:
    """Import an entry-point module and return the heavy modules that this brought in."""
    import collegium  # noqa: F401 - what the core needs is not the plugin's doing

    before = set(sys.modules)
    importlib.import_module(module)
    return sorted({name.partition(".")[0] for name in set(sys.modules) - before} & set(HEAVY))


def exercise_by_name(request: dict[str, Any], watch: Watch) -> list[Any]:
    """Build the component and exercise it, outside the main thread as the core does."""
    from collegium.testing.conformance.exercise import EXERCISED, exercise
    from collegium.testing.conformance.subject import Subject

    if request["kind"] not in EXERCISED:
        return []
    subject = Subject(request["kind"], request["id"], request["options"], request["cases"])
    outputs: list[Any] = []
    raised: list[BaseException] = []

    def work() -> None:
        try:
            instance = subject.shared
            watch.running = True
            outputs.extend(exercise(subject, instance))
            subject.close()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
    return outputs


def main() -> None:
    """Answer one request; what the plugin prints goes to standard error."""
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    request = json.load(sys.stdin)
    watch = Watch()
    watch.start()
    heavy = imported_heavy(request["module"])
    outputs = exercise_by_name(request, watch)
    found = {
        "heavy": heavy,
        "outputs": outputs,
        "signals": sorted(watch.signals),
        "sockets": sorted(watch.sockets),
        "writes": sorted(watch.writes | watch.left_behind()),
    }
    answer.write(json.dumps(found) + "\n" + json.dumps({"end": True}) + "\n")
    answer.close()
    sys.stderr.flush()
    os._exit(0)  # threads that hang, and what a plugin registered for the end, must not keep the check waiting


if __name__ == "__main__":
    main()
