"""The attack set as a whole: it is what it says, and nothing of it is left."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from collegium_verifier_code.selftest import SYNTAX_ERRORS, functions, programs
from collegium_verifier_code.selftest.run import Outcome, own_processes, run


@pytest.mark.parametrize("name", {**functions(), **programs()})
def test_an_attack_compiles_unless_it_attacks_the_compiler(name: str) -> None:
    if name.partition("/")[2] not in SYNTAX_ERRORS:
        compile({**functions(), **programs()}[name], name, "exec")


def test_the_whole_set_leaves_no_pass_no_process_and_no_file() -> None:
    outcome = run()
    assert outcome.tried >= 200
    assert outcome == Outcome(outcome.tried, passed=[], errors=[], processes=[], files=[])


def test_a_process_that_is_left_would_be_seen() -> None:
    before = own_processes()
    left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        assert own_processes() - before == {left.pid}
    finally:
        left.kill()
        left.wait()


def test_a_process_in_other_namespaces_would_be_seen() -> None:
    left = subprocess.Popen(["unshare", "--user", "sleep", "60"])
    try:
        for _ in range(200):
            if os.readlink(f"/proc/{left.pid}/ns/user") != os.readlink("/proc/self/ns/user"):
                break
            time.sleep(0.05)
        assert left.pid in own_processes()
    finally:
        left.kill()
        left.wait()


def test_the_command_says_what_it_found(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "collegium_verifier_code.selftest"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout
    assert "hostile submissions: 0 passed, 0 errors, 0 processes left, 0 files left" in done.stdout
