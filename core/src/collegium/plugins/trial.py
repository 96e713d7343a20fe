"""Import plugins in a process of their own first: one that crashes it, ends it or never returns is named.

``python -m collegium.plugins.trial FD MODULE...`` writes a line to the descriptor FD when it starts, and one after each
module.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import IO

from collegium.errors import PluginLoadError
from collegium.plugins.discovery import PLURALS
from collegium.plugins.guard import contained, import_plugin


def tried(modules: Sequence[str], timeout_s: float) -> dict[str, str]:
    """Import modules, and call their registration hooks, in a child process; in a new one after each that ends it.

    Args:
        modules: Entry-point modules.
        timeout_s: Seconds that one module may take.

    Returns:
        Module to what it did, for those that crashed, ended or held up the process; other failures are discovery's.

    Raises:
        PluginLoadError: If the child does not start.
    """
    faults: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        done, fault = _attempt(waiting, timeout_s)
        if not fault:
            break
        if done < 0:
            raise PluginLoadError(f"the process that tries the plugins does not start: {fault}")
        faults[waiting[done]] = fault
        waiting = waiting[done + 1 :]
    return faults


def _attempt(modules: Sequence[str], timeout_s: float) -> tuple[int, str]:
    """Return how many modules are done (-1: it did not start), and how the process ended ill, if it did."""
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "collegium.plugins.trial", str(writing), *modules],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"},
        pass_fds=(writing,),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(writing)
    done, late = _followed(os.fdopen(reading), len(modules), timeout_s)
    if done == len(modules):
        process.wait()
        return done, ""
    if late:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    code = process.wait()
    return done, f"its import was not done after {timeout_s:g} s" if late else _ending(code)


def _followed(answers: IO[str], modules: int, timeout_s: float) -> tuple[int, bool]:
    """Return how many modules the child is done with when it ends, and whether it was late with the next one."""
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read, args=(answers, lines), daemon=True).start()
    done = -1  # the first line says that it has started
    while done < modules:
        try:
            line = lines.get(timeout=timeout_s)
        except queue.Empty:
            return done, True
        if not line:
            return done, False
        done += 1
    return done, False


def _read(answers: IO[str], lines: queue.Queue[str]) -> None:
    with answers:
        for line in answers:
            lines.put(line)
    lines.put("")


def _ending(code: int) -> str:
    if code >= 0:
        return f"its import ended the process with exit code {code}"
    return f"its import crashed the process ({signal.Signals(-code).name})"


def _try(name: str) -> None:
    """Import a module and call its registration hooks; a failure is discovery's to report, which meets it again."""
    with contextlib.suppress(BaseException):
        module = import_plugin(name, name)
        for hook in PLURALS:
            with contained():
                getattr(module, hook, tuple)()


def main(descriptor: str, *modules: str) -> None:
    """Try each module."""
    with open(int(descriptor), "w", buffering=1, encoding="utf-8") as answer:
        answer.write("started\n")
        for module in modules:
            _try(module)
            answer.write(f"{module}\n")
    os._exit(0)  # a thread that a plugin left behind must not keep the command waiting


if __name__ == "__main__":
    main(*sys.argv[1:])
