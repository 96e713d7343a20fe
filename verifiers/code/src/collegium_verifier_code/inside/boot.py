"""The sandbox's first process: ``python -s -S -P boot.py SOCKET LIMITS``.

Imports all that submissions commonly need, puts up the walls, reports which one failed if one did, and becomes the
shim.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

PACKAGE_ROOT = str(Path(__file__).resolve().parents[2])
WARM = """
abc array bisect calendar collections collections.abc copy dataclasses datetime decimal enum fractions functools heapq
io itertools json math numbers operator queue random re statistics string textwrap threading time traceback typing
"""
"""Modules that submissions often import; forked from here they cost nothing. What loads large libraries (asyncio,
hashlib) is left out, since a fork costs more the more memory there is to copy."""
T = TypeVar("T")


class WallFailed(Exception):
    """One step of building the sandbox failed."""


def main() -> None:
    """Build the sandbox and serve."""
    sys.path.append(PACKAGE_ROOT)
    for name in WARM.split():
        __import__(name)
    from collegium_verifier_code.inside import kernel, root, seccomp
    from collegium_verifier_code.inside.channel import Closed, read_frame, write_frame
    from collegium_verifier_code.inside.limits import Limits
    from collegium_verifier_code.inside.supervisor import Supervisor

    sys.path.remove(PACKAGE_ROOT)
    host = socket.socket(fileno=int(sys.argv[1]))
    try:
        step("machine", lambda: seccomp.build(os.uname().machine))
        step("no_new_privs", lambda: kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1))
        step("user namespace", lambda: kernel.unshare(kernel.CLONE_NEWUSER))
        write_frame(host.fileno(), {"state": "unshared"})
        user = read_frame(host.fileno())["user"]
        step("namespaces", lambda: kernel.unshare(kernel.NAMESPACES))
        become_pid_1(host)
        step("file system", root.enter)
        supervisor = step("scratch folder", lambda: Supervisor(host, Limits(**json.loads(sys.argv[2])), user))
    except WallFailed as error:
        write_frame(host.fileno(), {"state": "failed", "why": str(error)})
        return
    except Closed:
        return
    write_frame(host.fileno(), {"state": "ready"})
    supervisor.run()


def step(name: str, action: Callable[[], T]) -> T:
    """Put up one wall."""
    try:
        return action()
    except OSError as error:
        raise WallFailed(f"{name}: {error}") from error


def become_pid_1(host: socket.socket) -> None:
    """Go on as the first process of the new pid namespace; the old process waits for it and ends."""
    pid = os.fork()
    if pid:
        host.close()
        os.waitpid(pid, 0)
        os._exit(0)
    from collegium_verifier_code.inside import kernel

    kernel.prctl(kernel.PR_SET_PDEATHSIG, 9)


if __name__ == "__main__":
    main()
