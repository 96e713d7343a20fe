"""The sandbox's life: where it cannot be made, when it dies, when many use it."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import collegium
from collegium import Completion, Error, Score, Task, VerifierError
from collegium_verifier_code import hints, worker
from collegium_verifier_code.inside import seccomp
from collegium_verifier_code.verifier import CodeVerifier

TASK = Task("t", "", data={"tests": ["assert f(2) == 3"]})
RIGHT = Completion("def f(x): return x + 1")
PROBE = """
from collegium import Completion, Task
from collegium_verifier_code.verifier import CodeVerifier
verifier = CodeVerifier({"workers": 1})
task = Task("t", "", data={"tests": ["assert f(2) == 3"]})
print([verifier.verify(Completion(c), task).value for c in ("def f(x): return x + 1", "def f(x): return x")])
verifier.close()
"""


def test_the_verifier_is_found_through_its_entry_point() -> None:
    (entry,) = [
        point for point in importlib.metadata.entry_points(group="collegium") if point.name == "collegium-verifier-code"
    ]
    (component,) = entry.load().register_verifiers()
    module, _, attribute = component.target.partition(":")
    assert (component.name, getattr(__import__(module, fromlist=[attribute]), attribute)) == ("code", CodeVerifier)


def test_without_user_namespaces_it_refuses_and_says_what_to_do() -> None:
    script = f"echo 0 > /proc/sys/user/max_user_namespaces && exec {sys.executable} -c '{PROBE}'"
    done = subprocess.run(["unshare", "--user", "--map-root-user", "sh", "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert "VerifierError" in done.stderr
    assert "code is not run without a sandbox" in done.stderr
    assert "failed at user namespace" in done.stderr
    assert "max_user_namespaces is 0" in done.stderr
    assert "fix: as root `sysctl -w user.max_user_namespaces=15000`" in done.stderr


def test_inside_a_user_namespace_it_works() -> None:
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", sys.executable, "-c", PROBE], capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("[1.0, 0.0]\n", "")


@pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can become another user; for anyone else all tests are this one"
)
def test_an_unprivileged_user_can_run_it() -> None:
    interpreter = _interpreter_for_nobody()
    if interpreter is None:
        pytest.skip("no Python of this version that user 65534 may run")
    path = ":".join(str(Path(module.__file__ or "").parents[1]) for module in (collegium, worker))
    path = ":".join([path, *(entry for entry in sys.path if entry.endswith("site-packages"))])
    done = subprocess.run(
        [interpreter, "-c", PROBE],
        user=65534,
        group=65534,
        extra_groups=[],
        env={"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        cwd="/",
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("[1.0, 0.0]\n", "")


def _interpreter_for_nobody() -> str | None:
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for found in (sys.executable, shutil.which(name, path="/usr/local/bin:/usr/bin")):
        if found is not None:
            try:
                subprocess.run(
                    [found, "-c", "import ctypes"], user=65534, group=65534, check=True, capture_output=True, cwd="/"
                )
            except (PermissionError, subprocess.CalledProcessError):
                continue
            return found
    return None


def test_a_user_map_that_is_refused_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(worker, "map_users", refuse)
    with pytest.raises(VerifierError, match=r"failed at user ids: .*Operation not permitted"):
        CodeVerifier()


def test_an_interpreter_that_does_not_start_is_a_refusal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    boot = tmp_path / "boot.py"
    boot.write_text("raise ImportError('half an installation')")
    monkeypatch.setattr(worker, "BOOT", boot)
    with pytest.raises(VerifierError, match="half an installation"):
        CodeVerifier()


def test_an_unknown_machine_is_refused() -> None:
    with pytest.raises(OSError, match="no seccomp filter for machine 'riscv64'"):
        seccomp.build("riscv64")


def test_a_setting_that_forbids_namespaces_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    setting = tmp_path / "apparmor_restrict_unprivileged_userns"
    setting.write_text("1\n")
    monkeypatch.setattr(hints, "SETTINGS", ((str(setting), "1", "sysctl -w kernel.x=0"),))
    error = hints.explain("file system: [Errno 13] mount: Permission denied")
    assert "apparmor_restrict_unprivileged_userns is 1" in str(error)
    assert "as root `sysctl -w kernel.x=0`" in str(error)
    assert error.owner == "collegium-verifier-code"


def test_a_submission_that_cannot_be_confined_is_not_run_and_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def map_without_the_second_user(pid: int) -> int:
        worker.map_one_user(pid)
        return 4242

    monkeypatch.setattr(worker, "map_users", map_without_the_second_user)
    verifier = CodeVerifier({"workers": 1})
    try:
        verdict = verifier.verify(RIGHT, TASK)
    finally:
        verifier.close()
    assert verdict == Error("the submission's process could not give up its rights; nothing was run")


def test_a_killed_sandbox_is_replaced_and_the_item_judged(
    census: Callable[[CodeVerifier], Callable[[], list[int]]],
) -> None:
    verifier = CodeVerifier({"workers": 1})
    try:
        (before,) = verifier._pool.pids
        processes = census(verifier)
        os.kill(before, signal.SIGKILL)
        verdict = verifier.verify(RIGHT, TASK)
        (after,) = verifier._pool.pids
        assert isinstance(verdict, Score)
        assert verdict.value == 1.0
        assert after != before
        assert processes() == []
    finally:
        verifier.close()


def test_a_sandbox_killed_twice_under_an_item_makes_it_an_error() -> None:
    verifier = CodeVerifier({"workers": 1, "timeout_s": 20.0})
    stop = threading.Event()
    slow = Completion("import time\ndef f(x):\n    time.sleep(15)\n    return x + 1")

    def kill() -> None:
        seen: set[int] = set()
        while not stop.wait(0.2):
            for pid in set(verifier._pool.pids) - seen:
                seen.add(pid)
                os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        verdict = verifier.verify(slow, TASK)
    finally:
        stop.set()
        killer.join()
        verifier.close()
    assert isinstance(verdict, Error)
    assert "two sandboxes in a row ended under this item" in verdict.reason


@pytest.mark.parametrize(
    "at_work", ["", "threading.Thread(target=v.verify_batch, args=(c, t)).start()\ntime.sleep(1)\n"]
)
def test_the_sandboxes_end_with_a_killed_trainer_idle_or_at_work(at_work: str) -> None:
    script = (
        "import threading, time\nfrom collegium import Completion, Task\n"
        "c = [Completion('while True: pass')] * 2\nt = [Task('t', '', data={'tests': ['assert f(2) == 3']})] * 2\n"
        "import os, signal\nfrom collegium_verifier_code.verifier import CodeVerifier\n"
        "v = CodeVerifier({'timeout_s': 50.0})\n"
        + at_work
        + "print(*[os.readlink(f'/proc/{p}/ns/user') for p in v._pool.pids], flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    namespaces = set(done.stdout.split())
    assert len(namespaces) == 2
    for _ in range(200):
        left = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit() and _namespace(entry) in namespaces]
        if not left:
            break
        threading.Event().wait(0.05)
    assert left == []


def _namespace(entry: Path) -> str:
    try:
        return os.readlink(entry / "ns" / "user")
    except OSError:  # it ended while we looked
        return ""


def test_many_threads_share_the_pool(verifier: CodeVerifier) -> None:
    results: list[bool] = []

    def work(number: int) -> None:
        right = number % 2
        completion = RIGHT if right else Completion("def f(x): return x")
        verdicts = verifier.verify_batch([completion] * 5, [TASK] * 5)
        results.append(all(isinstance(verdict, Score) and verdict.value == right for verdict in verdicts))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 8


def test_a_batch_keeps_its_order(verifier: CodeVerifier) -> None:
    completions = [Completion(f"def f(x): return x + {number % 3}") for number in range(30)]
    verdicts = verifier.verify_batch(completions, [TASK] * 30)
    assert [verdict.value for verdict in verdicts if isinstance(verdict, Score)] == [
        float(n % 3 == 1) for n in range(30)
    ]


def test_closing_twice_is_fine() -> None:
    verifier = CodeVerifier({"workers": 1})
    verifier.close()
    verifier.close()
    with pytest.raises(VerifierError, match="closed while it was at work"):
        verifier.verify(RIGHT, TASK)


def test_a_forked_copy_of_the_trainer_leaves_the_sandboxes_alone(verifier: CodeVerifier) -> None:
    before = verifier._pool.pids
    child = os.fork()
    if child == 0:
        verifier._finalizer()
        os._exit(0)
    os.waitpid(child, 0)
    assert isinstance(verifier.verify(RIGHT, TASK), Score)
    assert verifier._pool.pids == before
