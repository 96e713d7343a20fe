"""Submissions that want to pass without solving the task: none does."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from collegium import Completion, Score, Task, Verdict
from collegium_verifier_code.selftest import FORGERIES
from collegium_verifier_code.verifier import CodeVerifier


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_scores_zero(name: str, mapped_attack: Callable[[str], Verdict]) -> None:
    verdict = mapped_attack(FORGERIES[name])
    assert isinstance(verdict, Score)
    assert verdict.value == 0.0
    assert verdict.details["cause"]


TESTS_WITH_HELPERS = {
    "abs redefined": (["assert abs(f(2) - 3) < 1e-6"], "def abs(x): return 0\ndef f(x): return 9"),
    "set redefined": (["assert set(f(2)) == set([1, 2])"], "def set(x): return 0\ndef f(x): return [9]"),
    "math redefined": (
        ["assert math.isclose(f(2), 3)"],
        "class math:\n    isclose = lambda *a: True\ndef f(x): return 9",
    ),
    "map ended early": (["assert all(map(f, [2, 3, 5]))"], "def f(x): raise StopIteration"),
    "obliging text": (
        ["assert f(2).startswith('abc')", "assert f(2).endswith('c')"],
        "class T:\n    def __getattr__(self, name): return lambda *a: True\ndef f(x): return T()",
    ),
    "obliging container": (
        ["assert 3 in f(2)"],
        "class T:\n    def __contains__(self, x): return True\ndef f(x): return T()",
    ),
    "obliging order": (["assert f(2) > 5"], "class T:\n    def __gt__(self, x): return True\ndef f(x): return T()"),
    "obliging difference": (
        ["assert abs(f(2) - 3) < 1e-6"],
        "class T(float):\n    def __sub__(self, x): return 0.0\ndef f(x): return T(9)",
    ),
    "argument bent to the result": (
        ["x = [3, 1, 2]\nassert f(x) == sorted(x)"],
        "def f(x):\n    x.clear()\n    return []",
    ),
    "swallowing test": (
        ["try:\n    assert f(2) == 3\nexcept Exception:\n    raise\nexcept:\n    pass"],
        "def f(x):\n    import os; os._exit(0)",
    ),
}


@pytest.mark.parametrize("name", TESTS_WITH_HELPERS)
def test_what_the_tests_use_cannot_be_redefined(name: str, hasty_verifier: CodeVerifier) -> None:
    tests, code = TESTS_WITH_HELPERS[name]
    verdict = hasty_verifier.verify(Completion(code), Task("t", "", data={"tests": tests}))
    assert isinstance(verdict, Score)
    assert verdict.value == 0.0


def test_a_helper_of_the_prompt_cannot_be_redefined(hasty_verifier: CodeVerifier) -> None:
    prompt = "def encode(s):\n    return s[::-1]\n\ndef decode(s):\n    '''Undo encode.'''\n"
    data = {"test": "def check(candidate):\n    assert candidate(encode('abc')) == 'abc'\n", "entry_point": "decode"}
    task = Task("t", prompt, data=data)
    forged = hasty_verifier.verify(Completion("    return s\n\ndef encode(s):\n    return s\n"), task)
    honest = hasty_verifier.verify(Completion("    return s[::-1]\n"), task)
    assert [verdict.value for verdict in (forged, honest) if isinstance(verdict, Score)] == [0.0, 1.0]
