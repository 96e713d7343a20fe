"""Submissions that want to use up the machine: each is stopped at a limit, and nothing of it is left."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from collegium import Completion, Score, Task, Verdict
from collegium_verifier_code.verifier import CodeVerifier

Census = Callable[[CodeVerifier], Callable[[], list[int]]]

EXHAUSTIONS = {
    "infinite loop at import": "while True: pass",
    "infinite loop in the call": "def f(x):\n    while True: pass",
    "loop that catches everything": "def f(x):\n    while True:\n        try:\n            while True: pass\n        except BaseException: pass",
    "sleep": "import time\ndef f(x): time.sleep(1e6)",
    "all signals ignored": """
import signal
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
while True: pass
""",
    "fork bomb": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "thread bomb": """
import threading, time
threading.stack_size(32768)
while True:
    try: threading.Thread(target=time.sleep, args=(1000,)).start()
    except RuntimeError: break
def f(x): return threading.active_count()
""",
    "memory by a list": "x = [0]\nwhile True: x += x\n",
    "memory by a string": "def f(x): return 'a' * (1 << 40)",
    "memory by a mapping": "import mmap\nm = [mmap.mmap(-1, 1 << 26) for _ in range(1000)]",
    "disk fill": """
import os
def f(x):
    written = 0
    try:
        for number in range(1000):
            with open(f'f{number}', 'wb') as file: written += file.write(bytes(1 << 20))
    except OSError: pass
    return written if written <= 1 << 24 else x + 1
""",
    "one large file": """
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
def f(x):
    try: open('big', 'wb').truncate(1 << 40)
    except OSError: return None
    return x + 1
""",
    "many small files": """
def f(x):
    try:
        for number in range(100000): open(f's{number}', 'w').close()
    except OSError: return None
    return x + 1
""",
    "output flood": "def f(x):\n    while True: print('x' * 100000)",
    "huge result": "def f(x): return 'x' * (1 << 26)",
    "many results": "def f(x): return list(range(10 ** 6))",
    "huge int": "def f(x): return 1 << 20_000_000",
    "infinite iterator": "import itertools\ndef f(x): return itertools.count()",
    "cyclic list": "def f(x):\n    a = []; a.append(a)\n    return a",
    "deep list": "def f(x):\n    a = []\n    for _ in range(100000): a = [a]\n    return a",
    "deep recursion": "import sys\nsys.setrecursionlimit(10 ** 9)\ndef f(x): return f(x)",
    "deep recursion in C": "import sys\nsys.setrecursionlimit(10 ** 9)\nclass A:\n    def __repr__(self): return repr([self])\ndef f(x): return repr(A())",
    "native crash": "import ctypes\ndef f(x): ctypes.string_at(0)",
    "abort": "import os\ndef f(x): os.abort()",
    "stopped process": "import os, signal\ndef f(x): os.kill(os.getpid(), signal.SIGSTOP)",
    "long compile": "x = " + "-" * 200000 + "1",
    "deep source": "x = " + "(" * 5000 + ")" * 5000,
    "constant folding": "x = 2 ** (10 ** 9) if 0 else (9 ** 9) ** 9 ** 9",
    "catastrophic regular expression": "import re\ndef f(x): return re.match('(a+)+$', 'a' * 60 + 'b')",
    "many threads spinning": """
import threading
def spin():
    while True: pass
threads = [threading.Thread(target=spin) for _ in range(20)]
[t.start() for t in threads]
def f(x): return None
""",
    "pipes full of bytes": """
import os
def f(x):
    count = 0
    try:
        while True:
            r, w = os.pipe(); os.set_blocking(w, False); os.write(w, bytes(1 << 16)); count += 1
    except OSError: pass
    return x + 1 if count > 64 else None
""",
    "null bytes": "def f(x): return x + 1\0",
    "lone surrogate": "def f(x): return '\udc80'",
    "not utf-8": "# -*- coding: latin-9 -*-\ndef f(x): return None\ufeff",
}


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


PROGRAMS = {
    "output flood": "while True: print('x' * 1000)",
    "error flood": "import sys\nwhile True: sys.stderr.write('x' * 1000)",
    "closed output, still running": "import os, time\nos.close(1); os.close(2)\ntime.sleep(1e6)",
    "right output, then a crash": "print(3)\nimport sys; sys.stdout.flush()\nimport ctypes; ctypes.string_at(0)",
    "right output, then status 1": "print(3)\nraise SystemExit(1)",
    "right output, then no end": "print(3, flush=True)\nwhile True: pass",
    "right output, then a waiting thread": "import threading, time\nthreading.Thread(target=time.sleep, args=(1e6,)).start()\nprint(3)",
    "expected output read from somewhere": "import os, sys\nprint(os.listdir('/'), sys.argv, os.environ)",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_hostile_program_scores_zero(name: str, hasty_verifier: CodeVerifier) -> None:
    task = Task("t", "", data={"io": [{"stdin": "1 2\n", "stdout": "3\n"}]})
    verdict = hasty_verifier.verify(Completion(PROGRAMS[name]), task)
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
