"""Submissions that want to use up the machine: each is stopped at a limit, and nothing of it is left."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from collegium import Completion, Score, Task, Verdict
from collegium_verifier_code.selftest import EXHAUSTIONS, PROGRAMS, SUM
from collegium_verifier_code.verifier import CodeVerifier

Census = Callable[[CodeVerifier], Callable[[], list[int]]]


@pytest.mark.parametrize("name", EXHAUSTIONS)
def test_an_exhaustion_scores_zero(name: str, attack: Callable[[str], Verdict]) -> None:
    verdict = attack(EXHAUSTIONS[name])
    assert isinstance(verdict, Score)
    assert verdict.value == 0.0, verdict


def test_nothing_of_a_submission_is_left_when_the_next_one_runs(census: Census) -> None:
    verifier = CodeVerifier({"workers": 1, "timeout_s": 1.0})
    processes = census(verifier)
    try:
        task = Task("t", "", data={"tests": ["assert f(1)"]})
        code = "import threading, time\nthreading.Thread(target=time.sleep, args=(1e6,)).start()\ndef f(x): return True"
        verdicts = [verifier.verify(Completion(code), task), verifier.verify(Completion("while True: pass"), task)]
        verifier.verify(Completion("def f(x): return True"), task)
        verdicts.append(
            verifier.verify(Completion("import os\ndef f(x): return len(os.listdir('/scratch')) == 0"), task)
        )
        assert [verdict.value for verdict in verdicts if isinstance(verdict, Score)] == [1.0, 0.0, 1.0]
    finally:
        verifier.close()
    assert processes() == []


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_hostile_program_scores_zero(name: str, hasty_verifier: CodeVerifier) -> None:
    verdict = hasty_verifier.verify(Completion(PROGRAMS[name]), Task("t", "", data=SUM))
    assert isinstance(verdict, Score)
    assert verdict.value == 0.0, verdict


def test_a_result_that_hangs_the_test_itself_costs_a_sandbox_and_no_more() -> None:
    verifier = CodeVerifier({"workers": 1, "timeout_s": 0.5})
    try:
        before = verifier._pool.pids
        task = Task("t", "", data={"tests": ["assert sum(range(f(2))) == 3"]})
        verdict = verifier.verify(Completion("def f(x): return 10 ** 12"), task)
        assert isinstance(verdict, Score)
        assert verdict.value == 0.0
        assert "timed out" in verdict.details["cause"]
        assert verifier._pool.pids != before
    finally:
        verifier.close()
