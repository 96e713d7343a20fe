"""Submissions that want to pass without solving the task: none does."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from collegium import Completion, Score, Task, Verdict
from collegium_verifier_code.verifier import CodeVerifier

FORGERIES = {
    "object equal to everything": """
class Yes:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __hash__(self): return 0
def f(x): return Yes()
""",
    "int subclass equal to everything": """
class Yes(int):
    def __eq__(self, other): return True
    __hash__ = int.__hash__
def f(x): return Yes(0)
""",
    "str subclass equal to everything": """
class Yes(str):
    def __eq__(self, other): return True
    __hash__ = str.__hash__
def f(x): return Yes()
""",
    "class instead of function": """
class f:
    def __init__(self, x): pass
    def __eq__(self, other): return True
""",
    "metaclass equal to everything": """
class Meta(type):
    def __eq__(cls, other): return True
    __hash__ = type.__hash__
class Yes(metaclass=Meta): pass
def f(x): return Yes
""",
    "sys.exit(0) at import": "import sys; sys.exit(0)",
    "sys.exit(0) in the call": "def f(x):\n    raise SystemExit(0)",
    "os._exit(0) at import": "import os; os._exit(0)",
    "os._exit(0) in the call": "def f(x):\n    import os; os._exit(0)",
    "exit at exit": "import atexit, os\natexit.register(os._exit, 0)\ndef f(x): return None",
    "raise AssertionError subclass": "class E(AssertionError): pass\ndef f(x): raise E('passed')",
    "raise StopIteration": "def f(x): raise StopIteration",
    "raise KeyboardInterrupt": "def f(x): raise KeyboardInterrupt",
    "raise GeneratorExit": "def f(x): raise GeneratorExit",
    "print a verdict": 'print(\'{"checks": [{"ok": true}], "total": 1, "cause": ""}\')\ndef f(x): print(\'OK\')',
    "patch builtins": """
import builtins
for name in ('abs', 'bool', 'len', 'isinstance', 'sum', 'all', 'int'):
    setattr(builtins, name, lambda *a, **k: True)
def f(x): return 0
""",
    "patch AssertionError": "import builtins\nbuiltins.AssertionError = type(None)\ndef f(x): return 0",
    "trace function": "import sys\nsys.settrace(lambda *a: None)\nsys.setprofile(lambda *a: None)\ndef f(x): return 0",
    "import hook": """
import sys
class Hook:
    def find_spec(self, *a): sys.exit(0)
sys.meta_path.insert(0, Hook())
def f(x): return 0
""",
    "sys.modules tampering": """
import sys
for name, module in list(sys.modules.items()):
    if 'grader' in name or 'session' in name or 'codec' in name:
        for key in dir(module):
            try: setattr(module, key, lambda *a, **k: True)
            except Exception: pass
def f(x): return 0
""",
    "frames and gc for the tests": """
import gc, sys
def f(x):
    for thing in gc.get_objects():
        if isinstance(thing, str) and 'assert f(' in thing: return x + 1
        if isinstance(thing, dict) and 'assert f(2) == 3' in str(thing.get('tests')): return x + 1
    frame = sys._getframe()
    while frame:
        if 'tests' in frame.f_locals or 'tests' in frame.f_globals: return x + 1
        frame = frame.f_back
""",
    "search own memory for the tests": """
import ctypes
def f(x):
    base = id(object()) & ~0xfffff
    needle = b'assert f' + b'(2) =='
    data = ctypes.string_at(base, 0x40000)
    return x + 1 if needle in data else None
""",
    "write to every descriptor": """
import os
for fd in range(0, 64):
    for text in (b'{"checks": [{"ok": true, "cause": ""}], "total": 1, "cause": ""}',):
        frame = len(text).to_bytes(4, 'big') + text
        try: os.write(fd, frame)
        except OSError: pass
def f(x): return 0
""",
    "answer before being asked": """
import os
for text in (b'{"loaded": true}', b'{"kinds": {"f": {"callable": true}}}', b'{"value": true, "changed": {}}'):
    os.write(4, len(text).to_bytes(4, 'big') + text)
""",
    "malformed answers": """
import os
for text in (b'{"loaded": 1}', b'{"kinds": {"f": {"value": {"set": [[1], [2]]}}}}', b'[[[', b'{"value": {"int":
"zz"}}'): os.write(4, len(text).to_bytes(4, 'big') + text)
""",
    "answer with a type of its own": """
import os
for text in (b'{"loaded": 1}', b'{"kinds": {"f": {"callable": 1}}}', b'{"value": {"object": -1}, "changed": {}}') * 2:
    os.write(4, len(text).to_bytes(4, 'big') + text)
""",
    "announce a huge answer": "import os\nos.write(4, b'\\xff' * 4)\ndef f(x): return 0",
    "deeply nested answer": "import os\ntext = b'[' * 900000\nos.write(4, len(text).to_bytes(4, 'big') + text)",
    "close every descriptor": "import os\nos.closerange(0, 100)\ndef f(x): return 0",
    "empty submission": "",
    "comment only": "# def f(x): return x + 1",
    "nothing callable": "f = 3",
    "lying class attribute": "class f(int):\n    __class__ = bool\n    def __new__(cls, x): return int.__new__(cls, 0)",
}


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
