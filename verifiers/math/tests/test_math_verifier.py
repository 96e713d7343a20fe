"""The math verifier: answers found and compared, references refused, hostile input survived."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from collegium import Completion, Error, Score, Task, Verdict
from collegium_verifier_math.verifier import MathVerifier


@pytest.fixture(scope="module")
def lenient() -> Iterator[MathVerifier]:
    verifier = MathVerifier()
    yield verifier
    verifier.close()


@pytest.fixture(scope="module")
def strict() -> Iterator[MathVerifier]:
    verifier = MathVerifier({"mode": "strict", "workers": 1, "cpu_s": 1.0})
    yield verifier
    verifier.close()


def judge(verifier: MathVerifier, text: str, reference: str | None) -> Verdict:
    return verifier.verify(Completion(text), Task("t1", "?", reference=reference))


def value(verifier: MathVerifier, text: str, reference: str) -> float:
    verdict = judge(verifier, text, reference)
    assert isinstance(verdict, Score), verdict
    return verdict.value


def test_it_is_discovered_through_its_entry_point() -> None:
    (entry,) = entry_points(group="collegium", name="collegium-verifier-math")
    (offered,) = entry.load().register_verifiers()
    assert (offered.name, offered.target) == ("math", "collegium_verifier_math.verifier:MathVerifier")


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(ValidationError, match="modus"):
        MathVerifier({"modus": "strict"})


def test_only_what_follows_the_given_mark_counts() -> None:
    verifier = MathVerifier({"answer_after": ";", "mode": "strict"})
    assert value(verifier, "7+5=2 c1;1+0+1=2;22", "22") == 1.0
    assert value(verifier, "22;23", "22") == 0.0
    assert value(verifier, "\\boxed{22}", "22") == 0.0
    assert judge(verifier, "22", "22") == Score(0.0, {"answer": None, "why": "no answer found"})
    assert verifier._pool.started == 0


@pytest.mark.parametrize(
    ("text", "reference", "equal"),
    [
        ("\\boxed{0.5}", "\\frac{1}{2}", 1.0),
        ("\\boxed{\\frac{2}{4}}", "1/2", 1.0),
        ("\\boxed{x+1}", "1 + x", 1.0),
        ("\\boxed{y+1}", "x+1", 0.0),
        ("\\boxed{C}", "A", 0.0),
        ("\\boxed{52_{8}}", "52_8", 1.0),
        ("\\boxed{52_9}", "52_8", 0.0),
        ("\\boxed{(1,2]}", "(1, 2]", 1.0),
        ("\\boxed{(1,2)}", "(1,2]", 0.0),
        ("\\boxed{2} and \\boxed{1}", "\\{1, 2\\}", 1.0),
        ("\\boxed{\\text{Even}}", "even", 1.0),
        ("\\boxed{odd}", "even", 0.0),
        ("\\boxed{\\sqrt{\\sqrt{2}}}", "2**(1/4)", 1.0),
        ("\\boxed{x = \\frac{-1 \\pm \\sqrt{13}}{4}}", "x = \\frac{-1 \\pm \\sqrt{13}}{4}", 1.0),
        ("\\boxed{0.3333333}", "0.33333333", 1.0),
        ("\\boxed{7425000.4}", "7425000", 0.0),
        ("The total is 18 dollars.", "3 + 15 = 18\n#### 18", 1.0),
        ("\\boxed{18}", "#### 17", 0.0),
    ],
)
def test_answers_are_compared_by_value(lenient: MathVerifier, text: str, reference: str, equal: float) -> None:
    assert value(lenient, text, reference) == equal


def test_strict_takes_no_unmarked_answer_and_no_approximation(strict: MathVerifier) -> None:
    assert value(strict, "The total is 18", "18") == 0.0
    assert value(strict, " 18 ", "18") == 1.0
    assert value(strict, "\\boxed{0.3333333}", "0.33333333") == 0.0


@pytest.mark.parametrize("reference", [None, "", "  ", "####", "???", "{", "x \\in"])
def test_a_missing_or_unreadable_reference_is_an_error(strict: MathVerifier, reference: str | None) -> None:
    verdict = judge(strict, "\\boxed{x}", reference)
    assert isinstance(verdict, Error)
    assert "t1" in verdict.reason


def test_an_unreadable_answer_scores_zero_and_says_why(strict: MathVerifier) -> None:
    verdict = judge(strict, "\\boxed{\\frac{}", "x")
    assert isinstance(verdict, Score)
    assert verdict.value == 0.0
    assert "why" in verdict.details


HOSTILE = [
    "\\boxed{10^{10^{10}}}",
    "\\boxed{10**10**10}",
    "\\boxed{" + "(" * 900 + "1" + ")" * 900 + "}",
    "\\boxed{" + "\\frac{1}{" * 180 + "1" + "}" * 181,
    "\\boxed{" + "{" * 5000,
    "\\boxed{" * 100_000,
    "\\boxed{5}\n" * 50_000,
    "answer is " * 100_000,
    "<think>" * 50_000,
    "a" * 1_000_000,
    "1 " * 500_000,
    "9" * 1_000_000,
    "$" * 100_000,
    "\\boxed{\ud800\x00}",
    "\\boxed{\\int_0^{\\infty} x^x^x dx}",
    "\\boxed{\\binom{10^9}{5 \\cdot 10^8}}",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_answers_are_judged_within_their_limit(strict: MathVerifier, text: str) -> None:
    verdict = judge(strict, text, "\\frac{15}{3}")
    assert isinstance(verdict, Score)
    assert value(strict, "\\boxed{x+1}", "1+x") == 1.0  # and the verifier still works


def test_an_answer_that_exceeds_its_cpu_time_says_so(strict: MathVerifier) -> None:
    verdict = judge(strict, "\\boxed{9^{9^{9^9}}}", "\\frac{15}{3}")
    assert isinstance(verdict, Score)
    assert verdict.details["why"] == "CPU time limit exceeded"


def test_it_works_from_threads_with_one_pool(lenient: MathVerifier) -> None:
    tasks = [Task(str(n), "?", reference=f"\\frac{{{n}}}{{7}}") for n in range(1, 7)]
    completions = [Completion(f"\\boxed{{{n}/7}}") for n in range(1, 7)]
    with ThreadPoolExecutor(4) as threads:
        batches = list(threads.map(lambda _: lenient.verify_batch(completions, tasks), range(4)))
    assert all(verdict.value == 1.0 for batch in batches for verdict in batch)
    assert lenient._pool.started <= lenient.config.workers


def test_a_worker_survives_the_thread_that_started_it() -> None:
    verifier = MathVerifier({"workers": 1})
    try:
        thread = threading.Thread(target=lambda: judge(verifier, "\\boxed{x}", "x"))
        thread.start()
        thread.join()
        assert value(verifier, "\\boxed{x}", "x") == 1.0
        assert verifier._pool.started == 1
    finally:
        verifier.close()


def test_a_worker_does_not_outlive_a_parent_that_is_killed() -> None:
    script = (
        "from collegium import Completion, Task\n"
        "from collegium_verifier_math.verifier import MathVerifier\n"
        "import os, signal\n"
        "verifier = MathVerifier({'workers': 1})\n"
        "verifier.verify(Completion('\\\\boxed{x}'), Task('t', '?', reference='x'))\n"
        "worker = verifier._pool._idle.get()\n"
        "print(worker._process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert run.returncode == -signal.SIGKILL, run.stderr
    assert ended_within(int(run.stdout), seconds=30)


def ended_within(process: int, seconds: int) -> bool:
    """Wait for a process that is not our child to end."""
    for _ in range(10 * seconds):
        status = Path(f"/proc/{process}/stat")
        if not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.1)
    return False


def test_a_closed_verifier_says_so_and_starts_nothing() -> None:
    verifier = MathVerifier()
    verifier.close()
    assert judge(verifier, "\\boxed{x}", "x") == Error("no worker process: the verifier is closed")
    assert verifier._pool.started == 0


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=300))
def test_any_text_gives_a_score(lenient: MathVerifier, text: str) -> None:
    assert isinstance(judge(lenient, text, "42"), Score)
    assert isinstance(judge(lenient, "answer: " + text, "\\pi"), Score)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=100))
def test_any_reference_gives_a_score_or_an_error_and_never_an_exception(lenient: MathVerifier, gold: str) -> None:
    assert isinstance(judge(lenient, "\\boxed{3.5}", gold), Score | Error)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet="0123456789+-*/^(){}[]\\,.xyiπ√ \n$%=<>&frcsqtbinompm", max_size=60))
def test_any_formula_gives_a_score(strict: MathVerifier, text: str) -> None:
    assert isinstance(judge(strict, f"\\boxed{{{text}}}", "\\sqrt{2}"), Score)


@given(st.fractions(max_denominator=1))
def test_a_whole_number_equals_itself_and_not_its_neighbour(number: Fraction) -> None:
    verifier = MathVerifier()
    assert value(verifier, f"\\boxed{{{number}}}", str(number)) == 1.0
    assert value(verifier, f"\\boxed{{{number + 1}}}", str(number)) == 0.0
