"""Judge the whole attack set, then look for what is left of it on the machine."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from collegium import Completion, Score, Task, Verdict
from collegium_verifier_code.selftest import ADD_ONE, SUM, functions, programs
from collegium_verifier_code.verifier import CodeVerifier

FOLDERS = tuple(Path(folder) for folder in ("/", "/tmp", "/var/tmp", "/dev", "/dev/shm", "/run"))
"""Where a program that got out would most likely leave a file: what every user can write, and the top folders."""
SETTLE_S = 10.0
"""How long the kernel may take to take down what was killed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened to the attack set.

    Args:
        tried: Submissions judged.
        passed: Those that got a score above 0.
        errors: Those that got no score, with the reason.
        processes: Processes that are left and were not there before.
        files: Files that are left and were not there before.
    """

    tried: int
    passed: list[str]
    errors: list[str]
    processes: list[int]
    files: list[str]

    @property
    def clean(self) -> bool:
        """Whether nothing got anywhere."""
        return not (self.passed or self.errors or self.processes or self.files)


def run(timeout_s: float = 1.0) -> Outcome:
    """Judge everything with a new verifier, close it, and look around."""
    processes, files = own_processes(), files_in(*_folders())
    verifier = CodeVerifier({"extract": "none", "timeout_s": timeout_s})
    try:
        verdicts = {**_judge(verifier, functions(), ADD_ONE), **_judge(verifier, programs(), SUM)}
    finally:
        verifier.close()
    return Outcome(
        tried=len(verdicts),
        passed=[name for name, verdict in verdicts.items() if isinstance(verdict, Score) and verdict.value > 0],
        errors=[f"{name}: {verdict}" for name, verdict in verdicts.items() if not isinstance(verdict, Score)],
        processes=settled(processes),
        files=sorted(files_in(*_folders()) - files),
    )


def _folders() -> tuple[Path, ...]:
    return (*FOLDERS, Path(tempfile.gettempdir()), Path.cwd(), Path(os.__file__).parent)


def _judge(verifier: CodeVerifier, texts: dict[str, str], data: Mapping[str, object]) -> dict[str, Verdict]:
    tasks = [Task(name, "", data=data) for name in texts]
    return dict(zip(texts, verifier.verify_batch([Completion(text) for text in texts.values()], tasks), strict=True))


def own_processes() -> set[int]:
    """List this process's descendants, and all that run as the user that submissions run as or in other namespaces.

    A process that got away from its parents would still have been started here: it is in none of our namespaces, or
    its parent is gone.
    """
    ours = os.readlink("/proc/self/ns/user")
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _is_foreign(entry, ours):
            found.add(int(entry.name))
    return found


def _is_foreign(entry: Path, ours: str) -> bool:
    try:
        return os.readlink(entry / "ns" / "user") != ours or _parent(entry) == os.getpid()
    except OSError:  # it ended while we looked, or is another user's
        return False


def _parent(entry: Path) -> int:
    return int((entry / "stat").read_text().rpartition(")")[2].split()[1])


def settled(before: set[int]) -> list[int]:
    """List the new processes that are left once the kernel has had time to end what was killed."""
    deadline = time.monotonic() + SETTLE_S
    while (left := own_processes() - before) and time.monotonic() < deadline:
        time.sleep(0.05)
    return sorted(left)


def files_in(*folders: Path) -> set[str]:
    """List what lies directly in some folders and could be a submission's: other programs' files are not looked at."""
    names = ("evil", "collegium", "core", "escape", "copy.py", "own", "bomb", "big")
    return {
        str(path) for folder in folders if folder.is_dir() for path in folder.iterdir() if path.name.startswith(names)
    }
