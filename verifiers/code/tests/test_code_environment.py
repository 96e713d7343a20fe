"""The environment `python`: a turn's code is run in the sandbox, and what it says is the reply."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from collegium import Task
from collegium_verifier_code.environment import LONGEST_CODE, PythonSandbox

TASK = Task("t", "?")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[PythonSandbox]:
    environment = PythonSandbox({"timeout_s": 10.0, "workers": 1})
    yield environment
    environment.close()


@pytest.mark.parametrize(
    ("turn", "reply"),
    [
        ("run 6*7", "42"),
        ('run "".join(sorted("4831"))', "1348"),
        ("run print(1); 2", "1\n2"),
        ("run x = 1", ""),
        ("I try this:\nrun 1+1\n", "2"),
        ("```python\nfor i in range(3):\n    print(i)\n```", "0\n1\n2"),
        ("run 1/0", "ZeroDivisionError: division by zero"),
        ("run raise SystemExit(3)", ""),
        ("run (", "SyntaxError: '(' was never closed (<unknown>, line 1)"),
        ("run " + "(" * 3000, "SyntaxError: too many nested parentheses (<unknown>, line 1)"),
        ("run 4\x00", "SyntaxError: source code string cannot contain null bytes"),
        ("run " + "1" * (LONGEST_CODE + 1), "too long"),
        ("=42", None),
        ("", None),
        ("run", None),
    ],
)
def test_a_turns_code_is_run_and_a_turn_without_code_ends_the_episode(sandbox, turn, reply):
    assert sandbox.open(TASK).reply(turn) == reply


def test_code_that_does_not_end_is_stopped_and_the_next_turn_is_answered():
    environment = PythonSandbox({"timeout_s": 0.5, "workers": 1, "max_chars": 20})
    try:
        episode = environment.open(TASK)
        assert episode.reply("run while True: pass") == "timed out"
        assert episode.reply("run 'a'*100") == "a" * 20
        assert episode.reply("run x = 5") == ""
        assert episode.reply("run x") == "NameError: name 'x' "  # nothing is kept from turn to turn
    finally:
        environment.close()


def test_code_sees_neither_the_hosts_files_nor_its_network(sandbox):
    episode = sandbox.open(TASK)
    assert "PermissionError" in episode.reply("run __import__('socket').socket()")
    assert "FileNotFoundError" in episode.reply("run open('/etc/passwd').read()")
