"""Tests that call functions: what passes, what fails, and with which cause."""

from __future__ import annotations

from typing import Any

import pytest

from collegium import Completion, Error, Score, Task, Verdict
from collegium_verifier_code.verifier import CodeVerifier


def judge(verifier: CodeVerifier, code: str, *tests: str, **data: Any) -> Verdict:
    return verifier.verify(Completion(code), Task("t", "", data={"tests": list(tests), **data}))


def value(verdict: Verdict) -> float:
    assert isinstance(verdict, Score), verdict
    return verdict.value


RIGHT = {
    "int": ("def f(x): return x + 1", "assert f(2) == 3"),
    "large int": ("def f(x): return x ** 300", "assert f(7) == 7 ** 300"),
    "float, nan and infinity": (
        "def f(): return [0.1, float('inf'), float('nan')]",
        "a, b, c = f()\nassert a == 0.1 < b and c != c",
    ),
    "complex": ("def f(): return 1j", "assert f() == 1j"),
    "text with any character": ("def f(s): return s + '\\0\\udc80é'", "assert f('x') == 'x\\0\\udc80é'"),
    "bytes": ("def f(b): return bytearray(b)", "assert f(b'a') == bytearray(b'a')"),
    "nested containers": (
        "def f(x): return ({'a': [x]}, {1, 2}, frozenset([3]), None, True)",
        "assert f(5) == ({'a': [5]}, {1, 2}, frozenset([3]), None, True)",
    ),
    "types are kept": ("def f(): return (1,)", "assert f() == (1,) and f() != [1] and isinstance(f(), tuple)"),
    "Counter as the dict it is": (
        "from collections import Counter\ndef f(s): return Counter(s)",
        "assert f('aab') == {'a': 2, 'b': 1}",
    ),
    "namedtuple as the tuple it is": (
        "from collections import namedtuple\nP = namedtuple('P', 'x y')\ndef f(): return P(1, 2)",
        "assert f() == (1, 2)",
    ),
    "generator": ("def f(n):\n    yield from range(n)", "assert list(f(3)) == [0, 1, 2]"),
    "map": ("def f(xs): return map(str, xs)", "assert list(f([1, 2])) == ['1', '2']"),
    "dict views": ("def f(d): return d.keys()", "assert sorted(f({'b': 1, 'a': 2})) == ['a', 'b']"),
    "range": ("def f(n): return range(n)", "assert f(3) == range(3)"),
    "deque": ("from collections import deque\ndef f(): return deque([1])", "assert list(f()) == [1]"),
    "type as argument": ("def f(xs, t): return [x for x in xs if isinstance(x, t)]", "assert f([1, 'a'], int) == [1]"),
    "keyword arguments": ("def f(a, *, b=1): return a - b", "assert f(5, b=3) == 2"),
    "argument changed in place": ("def f(xs): xs.sort()", "xs = [3, 1]\nassert f(xs) is None\nassert xs == [1, 3]"),
    "exception by type": (
        "def f(x): raise ValueError('no')",
        "try:\n    f(1)\n    assert False\nexcept ValueError as e:\n    assert str(e) == 'no'",
    ),
    "exception of its own": (
        "class Bad(KeyError): pass\ndef f(x): raise Bad('x')",
        "try:\n    f(1)\n    assert False\nexcept Bad:\n    pass",
    ),
    "constant": ("LIMIT = [1, 2]\ndef f(): pass", "assert LIMIT == [1, 2]"),
    "several functions": ("def f(x): return g(x) + 1\ndef g(x): return 2 * x", "assert f(1) == 3\nassert g(3) == 6"),
    "function as argument": ("def f(x): return x + 1\ndef twice(g, x): return g(g(x))", "assert twice(f, 1) == 3"),
    "function with a built-in name": ("def sum(a, b): return a + b", "assert sum(1, 2) == 3"),
    "module of the test's": ("def f(x): return x ** 0.5", "assert math.isclose(f(2) ** 2, 2)"),
    "state between calls": ("n = 0\ndef f():\n    global n\n    n += 1\n    return n", "assert f() == 1 and f() == 2"),
    "class": (
        "class Stack:\n    def __init__(self): self.items = []\n    def push(self, x): self.items.append(x)\n    def __len__(self): return 1",
        "s = Stack()\ns.push(3)\nassert s.items == [3] and len(s) == 1",
    ),
    "object handed back": (
        "class Node:\n    def __init__(self, v): self.v = v\ndef f(n): return n.v",
        "n = Node(4)\nn.v = 5\nassert f(n) == 5",
    ),
    "printing": ("def f(x):\n    print('noise')\n    return x", "assert f(1) == 1"),
    "reading input": ("def f():\n    import sys\n    return sys.stdin.read()", "assert f() == ''"),
    "threads": (
        "from concurrent.futures import ThreadPoolExecutor as T\ndef f(x): return list(T(4).map(abs, x))",
        "assert f([-1, 2]) == [1, 2]",
    ),
    "asyncio": ("import asyncio\nasync def g(): return 4\ndef f(): return asyncio.run(g())", "assert f() == 4"),
    "dataclass": (
        "from dataclasses import dataclass, asdict\n@dataclass\nclass P:\n    x: int\ndef f(): return asdict(P(1))",
        "assert f() == {'x': 1}",
    ),
    "files of its own": ("def f():\n    open('a', 'w').write('hi')\n    return open('a').read()", "assert f() == 'hi'"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_submission_passes(name: str, verifier: CodeVerifier) -> None:
    code, test = RIGHT[name]
    verdict = judge(verifier, code, test)
    assert value(verdict) == 1.0, verdict


def test_a_wrong_result_fails_with_its_cause(verifier: CodeVerifier) -> None:
    verdict = judge(verifier, "def f(x): return x", "assert f(1) == 1", "assert f(2) == 3, 'two'", "assert f(3) == 3")
    assert isinstance(verdict, Score)
    assert verdict == Score(
        0.0,
        {
            "passed": 1,
            "total": 3,
            "cause": "assertion failed: two",
            "tests": [{"ok": True, "cause": ""}, {"ok": False, "cause": "assertion failed: two"}],
        },
    )


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("def f(x) return x", "SyntaxError"),
        ("def g(x): return x", "NameError"),
        ("def f(x): return 1 / 0", "ZeroDivisionError"),
        ("import nothing_like_this", "ModuleNotFoundError"),
        ("def f(): return 1", "TypeError"),
        ("def f(x):\n    import os; os._exit(3)", "ended before it answered"),
    ],
)
def test_a_broken_submission_fails_with_its_cause(code: str, cause: str, verifier: CodeVerifier) -> None:
    verdict = judge(verifier, code, "assert f(1) == 1")
    assert isinstance(verdict, Score)
    assert verdict.value == 0.0
    assert cause in verdict.details["cause"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"tests": ["assert f(lambda: 1) == 1"]}, "'function' as an argument, which is not supported"),
        ({"tests": ["assert f( == 1"]}, "not Python"),
        ({"tests": ["f(1) == 1"]}, "no assertion"),
        ({"tests": ["assert 1 == 1"]}, "give `entry_point`"),
        ({"tests": ["assert abs(sum(1, 2)) == 3"]}, "give `entry_point`"),
        ({"tests": ["import numpy\nassert f(1) == 1"]}, "numpy"),
        ({"tests": ["import asyncio\nassert asyncio.run(f(1)) == 1"]}, "async"),
        ({"tests": ["assert f(1) == 1"], "setup": "1 / 0"}, "the setup failed: ZeroDivisionError"),
        ({"tests": "assert f(1) == 1"}, "list of texts"),
        ({"tests": []}, "must hold one of"),
        ({}, "must hold one of"),
        ({"test": "def check(candidate): assert True"}, "entry_point"),
        (
            {"test": "def check(candidate): assert candidate(g(1)) == 1", "entry_point": "f"},
            "give the prompt's code as `prefix`",
        ),
        ({"tests": ["assert f(1) == 1"], "io": [{"stdout": ""}]}, "must hold one of"),
        ({"io": [{"stdin": ""}]}, "`stdout`"),
    ],
)
def test_tests_that_cannot_be_run_are_an_error_not_a_score(
    data: dict[str, Any], reason: str, verifier: CodeVerifier
) -> None:
    verdict = verifier.verify(Completion("def f(x): return 1"), Task("t", "", data=data))
    assert isinstance(verdict, Error), verdict
    assert reason in verdict.reason


def test_setup_is_the_tests_own(verifier: CodeVerifier) -> None:
    setup = "from math import sqrt\nexpected = sqrt(16)"
    assert value(judge(verifier, "def f(x): return x", "assert f(4) == expected", setup=setup)) == 1.0
    assert value(judge(verifier, "expected = 5\ndef f(x): return x", "assert f(5) == expected", setup=setup)) == 0.0


def test_an_entry_point_settles_what_is_under_test(verifier: CodeVerifier) -> None:
    code = "def max(a, b): return a if a > b else b"
    assert value(judge(verifier, code, "assert abs(max(1, 2)) == 2", entry_point="max")) == 1.0


def test_fraction_counts_the_tests_that_pass() -> None:
    verifier = CodeVerifier({"mode": "fraction", "workers": 1, "timeout_s": 1.0})
    try:
        tests = [f"assert f({x}) == {x * x}" for x in (0, 1, 2, 3)]
        assert value(judge(verifier, "def f(x): return x", *tests)) == 0.5
        assert value(judge(verifier, "def f(x):\n    while x == 3: pass\n    return x * x", *tests)) == 0.75
        check = "def check(candidate):\n    for x in range(4):\n        assert candidate(x) == x * x\n"
        whole = Task("t", "", data={"test": check, "entry_point": "f"})
        assert value(verifier.verify(Completion("def f(x): return x"), whole)) == 0.5
    finally:
        verifier.close()


def test_a_test_function_that_checks_nothing_is_not_passed(verifier: CodeVerifier) -> None:
    data = {"test": "def check(candidate):\n    for x in candidate(1):\n        assert x == 1\n", "entry_point": "f"}
    assert value(verifier.verify(Completion("def f(x): return []"), Task("t", "", data=data))) == 0.0


def test_the_same_submission_draws_the_same_numbers(verifier: CodeVerifier) -> None:
    code = "import random\ndef f(): return random.random()\ndef g(): return list({'a', 'b', 'c', 'd', 'e'})"
    task = Task("t", "", data={"tests": ["assert f() == 0 and g() == 0"]})
    first, second = (verifier.verify(Completion(code.replace("== 0", "")), task) for _ in range(2))
    assert first == second


def test_prefix_and_suffix_go_around_the_completion(verifier: CodeVerifier) -> None:
    data = {"prefix": "def f(x):\n    return ", "suffix": "\n\ndef g(x):\n    return -f(x)\n"}
    assert value(judge(verifier, "x * 2", "assert f(4) == 8 and g(1) == -2", **data)) == 1.0
    assert value(judge(verifier, "x + 2", "assert f(4) == 8 and g(1) == -2", **data)) == 0.0
