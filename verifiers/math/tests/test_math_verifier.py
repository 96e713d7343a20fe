"""The math verifier: answers found and compared, references refused, hostile input survived."""

from __future__ import annotations

import gzip
import json
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
from collegium_verifier_math.extraction import extract
from collegium_verifier_math.plain_number import last_plain_number, plain_number
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


@pytest.mark.parametrize(
    ("text", "answer", "how"),
    [
        ("so $\\boxed{\\frac{1}{2}}$.", "$\\frac{1}{2}$", "boxed"),
        ("\\boxed{1} no, \\boxed{2}", "$2$", "boxed"),
        ("\\boxed{1} and \\boxed{2}", "$1$ and $2$", "boxed"),
        ("The answer is 5. \\boxed{4}", "$4$", "boxed"),
        ("<think>\\boxed{1}</think>answer: 2", "2", "answer is"),
        ("steps\n#### 1,200", "1,200", "####"),
        ("The final answer is: **42**.", "42", "answer is"),
        ("answer is 1. No: the answer is 2. Good", "2", "answer is"),
        ("The answer is\n\\[ x^2 \\]", "x^2", "answer is"),
    ],
)
def test_the_marked_answer_is_found(text: str, answer: str, how: str) -> None:
    found = extract(text)
    assert found is not None
    assert (found.text, found.how) == (answer, how)


@pytest.mark.parametrize("text", ["", "42", "<think>\\boxed{1}", "\\boxed{1} then \\boxed{2", "answers vary"])
def test_without_a_mark_nothing_is_found(text: str) -> None:
    assert extract(text) is None


def test_only_what_follows_the_given_mark_counts() -> None:
    verifier = MathVerifier({"answer_after": ";", "mode": "strict"})
    assert value(verifier, "7+5=2 c1;1+0+1=2;22", "22") == 1.0
    assert value(verifier, "22;23", "22") == 0.0
    assert value(verifier, "\\boxed{22}", "22") == 0.0
    assert judge(verifier, "22", "22") == Score(0.0, {"answer": None, "why": "no answer found"})
    assert verifier._pool.started == 0


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("-3", Fraction(-3)),
        ("1,234.50", Fraction(2469, 2)),
        (".5", Fraction(1, 2)),
        ("$18", Fraction(18)),
        ("$18$", Fraction(18)),
        ("\\$32,\\!348", Fraction(32348)),
        ("10{,}000", Fraction(10000)),
        ("7.", Fraction(7)),
        ("1,22", None),
        ("12,34,567", None),
        ("1/2", None),
        ("50%", None),
        ("1e5", None),
        ("٣", None),
        ("", None),
        (".", None),
        ("9" * 500, None),
    ],
)
def test_a_plain_number_is_read_exactly_or_not_at_all(text: str, number: Fraction | None) -> None:
    assert plain_number(text) == number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("A: 2600", "2600"),
        ("it costs $5 and then $7.50.", "7.50"),
        ("100 - 30 = 70", "70"),
        ("x = -4", "-4"),
        ("pages 2-4", None),
        ("7 = 5 + 2", None),
        ("one half is 1/2", None),
        ("$x$ is 5 or $6$", None),
        ("AZYUK2A", None),
        ("none", None),
        ("5\nnone", None),
    ],
)
def test_the_last_number_of_plain_prose_is_taken_and_nothing_else(text: str, number: str | None) -> None:
    assert last_plain_number(text) == number


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
@given(st.text(alphabet="0123456789+-*/^(){}[]\\,.xyiπ√ \n$%=<>&frcsqtbinompm", max_size=60))
def test_any_formula_gives_a_score(strict: MathVerifier, text: str) -> None:
    assert isinstance(judge(strict, f"\\boxed{{{text}}}", "\\sqrt{2}"), Score)


@given(st.fractions(max_denominator=1))
def test_a_whole_number_equals_itself_and_not_its_neighbour(number: Fraction) -> None:
    verifier = MathVerifier()
    assert value(verifier, f"\\boxed{{{number}}}", str(number)) == 1.0
    assert value(verifier, f"\\boxed{{{number + 1}}}", str(number)) == 0.0


def rows(path: Path) -> list[dict[str, object]]:
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in text.splitlines()]


def disagreements(verifier: MathVerifier, cases: list[tuple[str, str, str, bool]]) -> dict[str, Verdict]:
    """Judge cases of (id, completion, reference, label); return the verdicts that are not the label's score."""
    completions = [Completion(text) for _, text, _, _ in cases]
    tasks = [Task(key, "?", reference=gold) for key, _, gold, _ in cases]
    verdicts = verifier.verify_batch(completions, tasks)
    wrong = {}
    for (key, _, _, label), verdict in zip(cases, verdicts, strict=True):
        if not (isinstance(verdict, Score) and verdict.value == float(label)):
            wrong[key] = verdict
    return wrong


def test_pairs_from_graders_unit_tests_agree(lenient: MathVerifier, real_data: Path) -> None:
    # A decimal comma; a sentence whose last number is not its answer; a reference that is broken LaTeX, hence an error.
    known = {"eq/6", "eq/285", "eq/206"}
    plain = [row for row in rows(real_data / "math_equiv.jsonl") if row["review"] == "ok"]
    cases = [(str(r["id"]), str(r["prediction"]), str(r["gold"]), bool(r["expected"])) for r in plain]
    assert len(cases) > 150
    assert set(disagreements(lenient, cases)) == known


def test_labelled_gsm8k_solutions_agree(lenient: MathVerifier, real_data: Path) -> None:
    cases = [
        (f"{r['model']}/{r['id']}", str(r["solution"]), str(r["gold"]), bool(r["is_correct"]))
        for r in rows(real_data / "gsm8k_model_solutions.jsonl.gz")
    ]
    assert len(cases) > 3000
    assert disagreements(lenient, cases) == {}


def test_every_reference_equals_itself(lenient: MathVerifier, real_data: Path) -> None:
    cases = [
        (str(r["id"]), f"\\boxed{{{r['answer']}}}", str(r["answer"]), True) for r in rows(real_data / "math500.jsonl")
    ]
    assert len(cases) > 300
    assert disagreements(lenient, cases) == {}


def test_no_reference_with_a_changed_digit_is_taken_for_the_reference(lenient: MathVerifier, real_data: Path) -> None:
    cases = []
    for row in rows(real_data / "math500.jsonl"):
        gold = str(row["answer"])
        cases += [(str(row["id"]), f"\\boxed{{{changed}}}", gold, False) for changed in with_last_digit_changed(gold)]
    assert len(cases) > 250
    # The digit changed is a unit's exponent, 15 cm^2 to 15 cm^5, and units are not compared.
    assert set(disagreements(lenient, cases)) == {"test/prealgebra/1114.json"}


def with_last_digit_changed(text: str) -> list[str]:
    at = max((index for index, character in enumerate(text) if character in "0123456789"), default=-1)
    return [] if at < 0 else [text[:at] + str((int(text[at]) + 3) % 10) + text[at + 1 :]]
