"""Whole programs: standard input in, standard output compared."""

from __future__ import annotations

import pytest

from collegium import Completion, Score, Task, Verdict
from collegium_verifier_code.output import same_output
from collegium_verifier_code.verifier import CodeVerifier

SUM = Task("t", "", data={"io": [{"stdin": "1 2\n", "stdout": "3\n"}, {"stdin": "10 5\n", "stdout": "15"}]})


def value(verdict: Verdict) -> float:
    assert isinstance(verdict, Score), verdict
    return verdict.value


@pytest.mark.parametrize(
    "code",
    [
        "a, b = map(int, input().split())\nprint(a + b)",
        "import sys\nprint(sum(map(int, sys.stdin.read().split())))",
        "import sys\nsys.stdout.write(str(sum(map(int, sys.stdin.readline().split()))))",
        "if __name__ == '__main__':\n    print(sum(map(int, open(0).read().split())), '  ')",
        "import sys\nprint(sum(map(int, input().split())))\nsys.exit()",
        "import threading\nt = threading.Thread(target=lambda: print(sum(map(int, input().split()))))\nt.start()",
        "import atexit\natexit.register(lambda: print(sum(map(int, input().split()))))",
    ],
)
def test_a_right_program_passes(code: str, verifier: CodeVerifier) -> None:
    assert value(verifier.verify(Completion(code), SUM)) == 1.0


def test_a_wrong_program_fails_with_its_cause(verifier: CodeVerifier) -> None:
    verdict = verifier.verify(Completion("print(3)"), SUM)
    assert isinstance(verdict, Score)
    assert verdict.value == 0.0
    assert verdict.details["tests"] == [{"ok": True, "cause": ""}, {"ok": False, "cause": "wrong output"}]


def test_a_program_that_raises_fails_even_with_the_right_output(verifier: CodeVerifier) -> None:
    verdict = verifier.verify(Completion("print(sum(map(int, input().split())))\n1 / 0"), SUM)
    assert isinstance(verdict, Score)
    assert verdict.value == 0.0
    assert "ZeroDivisionError" in verdict.details["cause"]


def test_large_input_and_output_pass_through(verifier: CodeVerifier) -> None:
    text = "\n".join(str(number) for number in range(100_000))
    task = Task("t", "", data={"io": [{"stdin": text, "stdout": text}]})
    assert value(verifier.verify(Completion("import sys\nfor line in sys.stdin: print(line, end='')"), task)) == 1.0
    assert value(verifier.verify(Completion("import sys\nsys.stdin.close()"), task)) == 0.0


def test_lines_are_compared_in_order_and_inside(verifier: CodeVerifier) -> None:
    task = Task("t", "", data={"io": [{"stdin": "", "stdout": "a b\nc\n"}]})
    assert value(verifier.verify(Completion("print('a b ')\nprint('c')\nprint()"), task)) == 1.0
    assert value(verifier.verify(Completion("print('a  b')\nprint('c')"), task)) == 0.0
    assert value(verifier.verify(Completion("print('c')\nprint('a b')"), task)) == 0.0


@pytest.mark.parametrize(
    ("found", "expected", "tolerance", "same"),
    [
        ("0.3333333", "0.33333333", 1e-6, True),
        ("0.3333333", "0.33333333", 0.0, False),
        ("0.34", "0.33", 1e-3, False),
        ("1000000.5", "1000000", 1e-6, True),
        ("1000010", "1000000", 1e-6, False),
        ("1.0", "1", 1e-9, True),
        ("1.0", "1", 0.0, False),
        ("a  1.0000001 b", "a 1 b", 1e-6, True),
        ("a 1 c", "a 1 b", 1e-6, False),
        ("1 1", "1", 1e-6, False),
        ("1\n1", "1 1", 1e-6, False),
        ("nan", "1", 1e-6, False),
        ("inf", "1", 1e-6, False),
        ("1e9999", "1e9998", 1e-6, False),
        ("1_0", "10", 1e-6, False),
        ("\u0661", "1", 1e-6, False),
        ("9" * 500, "9" * 499 + "8", 1e-6, False),
        ("", "", 1e-6, True),
        ("", "0", 0.5, False),
        ("x \n\n", "x", 0.0, True),
        ("\nx", "x", 0.0, False),
    ],
)
def test_numbers_are_compared_within_the_tolerance_and_texts_exactly(
    found: str, expected: str, tolerance: float, same: bool
) -> None:
    assert same_output(found, expected, tolerance) is same


def test_the_tolerance_is_an_option_and_each_case_is_reported() -> None:
    task = Task("t", "", data={"io": [{"stdin": "3", "stdout": "0.33333"}, {"stdin": "8", "stdout": "0.5"}]})
    code = CodeVerifier({"workers": 1, "mode": "fraction", "tolerance": 1e-4})
    try:
        verdict = code.verify(Completion("print(1 / int(input()))"), task)
    finally:
        code.close()
    tests = [{"ok": True, "cause": ""}, {"ok": False, "cause": "wrong output"}]
    assert verdict == Score(0.5, {"passed": 1, "total": 2, "cause": "wrong output", "tests": tests})
