"""Runs a command that ends, with all it started, when the process that asked for it does, however that ends (Linux).

``python -m collegium_vllm.supervise PARENT FOLDER COMMAND...``, in its own session. If PARENT dies, FOLDER goes too.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from typing import NoReturn

PR_SET_PDEATHSIG = 1


def main(parent: int, folder: str, command: list[str]) -> NoReturn:
    """Run the command to its end, then kill what is left of its process group, this process included."""

    def end_if_orphaned() -> None:
        if os.getppid() != parent:  # otherwise it is a polite stop of the whole group: the command ends by itself
            shutil.rmtree(folder, ignore_errors=True)
            os.killpg(0, signal.SIGKILL)

    signal.signal(signal.SIGTERM, lambda *_: end_if_orphaned())
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    end_if_orphaned()  # the parent may have died before this line
    status = subprocess.call(command)
    sys.stdout.write(f"the server ended {f'by signal {-status}' if status < 0 else f'with status {status}'}\n")
    sys.stdout.flush()
    os.killpg(0, signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
