"""Fixtures: warm verifiers shared by the tests, and a look at the processes of their sandboxes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collegium import Completion, Score, Task, Verdict
from collegium_verifier_code import worker
from collegium_verifier_code.verifier import CodeVerifier

Judge = Callable[[str], Verdict]
ADD_ONE = Task("add-one", "", data={"tests": ["assert f(2) == 3", "assert f(10) == 11"]})


def user_namespace(pid: int) -> str:
    """The user namespace of a process: all processes of one sandbox share it and can have no other."""
    return os.readlink(f"/proc/{pid}/ns/user")


def processes_in(namespaces: set[str]) -> list[int]:
    """List the machine's processes that belong to the sandboxes."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.readlink(entry / "ns" / "user") in namespaces:
                found.append(int(entry.name))
        except OSError:  # it ended while we looked, or is another user's
            continue
    return found


def settle(namespaces: set[str]) -> list[int]:
    """List what is left of the sandboxes once the kernel has had time to take down what was killed from outside."""
    for _ in range(200):
        if not (left := processes_in(namespaces)):
            break
        time.sleep(0.05)
    return left


@pytest.fixture(scope="session")
def census() -> Callable[[CodeVerifier], Callable[[], list[int]]]:
    """Take note of a verifier's sandboxes; the result lists what processes they have in the end."""

    def note(code: CodeVerifier) -> Callable[[], list[int]]:
        namespaces = {user_namespace(pid) for pid in code._pool.pids}
        return lambda: settle(namespaces)

    return note


@pytest.fixture(scope="module")
def verifier() -> Iterator[CodeVerifier]:
    """A verifier with the default options, but code is taken as it is."""
    code = CodeVerifier({"extract": "none", "timeout_s": 10.0})
    yield code
    code.close()


@pytest.fixture(scope="module")
def hasty_verifier() -> Iterator[CodeVerifier]:
    """A verifier for submissions that run into their time limit; fails if any process is left when it is closed."""
    code = CodeVerifier({"extract": "none", "timeout_s": 1.0})
    namespaces = {user_namespace(pid) for pid in code._pool.pids}
    yield code
    namespaces |= {user_namespace(pid) for pid in code._pool.pids}
    code.close()
    assert processes_in(namespaces) == []


@pytest.fixture
def judge(verifier: CodeVerifier) -> Judge:
    """Judge code against ``f(x) == x + 1``."""
    return lambda code: verifier.verify(Completion(code), ADD_ONE)


def attacking(code: CodeVerifier) -> Judge:
    """Judge hostile code against ``f(x) == x + 1``, and see that an honest submission after it is judged as ever."""

    def run(text: str) -> Verdict:
        verdict = code.verify(Completion(text), ADD_ONE)
        honest = code.verify_batch([Completion("def f(x): return x + 1")] * 2, [ADD_ONE] * 2)
        passed = {"passed": 2, "total": 2, "cause": "", "tests": [{"ok": True, "cause": ""}] * 2}
        assert list(honest) == [Score(1.0, passed)] * 2
        return verdict

    return run


@pytest.fixture
def attack(hasty_verifier: CodeVerifier) -> Judge:
    """Attack the sandbox as this user has it."""
    return attacking(hasty_verifier)


@pytest.fixture(scope="module", params=["as this user", "with one user mapped"])
def mapped_attack(request: pytest.FixtureRequest) -> Iterator[Judge]:
    """Attack the sandbox as root has it (submissions under another user id) and as an unprivileged user has it."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "with one user mapped":
            patch.setattr(worker, "map_users", worker.map_one_user)
        code = CodeVerifier({"extract": "none", "timeout_s": 3.0})
        yield attacking(code)
        code.close()
