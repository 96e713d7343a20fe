"""The attack set as a whole: it is what it says, and nothing of it is left."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from collegium_verifier_code.selftest import SYNTAX_ERRORS, functions, programs
from collegium_verifier_code.selftest.__main__ import main
from collegium_verifier_code.selftest.run import Outcome, own_processes


@pytest.mark.parametrize("name", {**functions(), **programs()})
def test_an_attack_compiles_unless_it_attacks_the_compiler(name: str) -> None:
    if name.partition("/")[2] not in SYNTAX_ERRORS:
        compile({**functions(), **programs()}[name], name, "exec")


def test_the_whole_set_leaves_no_pass_no_process_and_no_file(capsys: pytest.CaptureFixture[str]) -> None:
    tried = len({**functions(), **programs()})
    assert tried >= 200
    assert main() == 0
    said = f"{tried} hostile submissions: 0 passed, 0 errors, 0 processes left, 0 files left\n"
    assert capsys.readouterr().out == said


def test_whatever_is_found_is_not_clean() -> None:
    assert Outcome(1, [], [], [], []).clean
    for found in (([1], [], [], []), ([], [1], [], []), ([], [], [1], []), ([], [], [], [1])):
        assert not Outcome(1, *found).clean


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
