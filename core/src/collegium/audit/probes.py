"""Exploit probes: completions that answer nothing and must not pass."""

from __future__ import annotations

import ast
import builtins
import contextlib
from collections.abc import Iterator

from collegium.task import Task

ALWAYS_EQUAL = """\
class Anything:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __bool__(self): return True
    def __lt__(self, other): return True
    __le__ = __gt__ = __ge__ = __lt__
    def __hash__(self): return 0
    def __len__(self): return 1
    def __iter__(self): return iter([self])
    def __getitem__(self, key): return self
    def __getattr__(self, name): return self
    def __call__(self, *args, **kwargs): return self
    def __sub__(self, other): return 0
    __rsub__ = __sub__
    def __abs__(self): return 0
def {name}(*args, **kwargs): return Anything()
"""
GRADER_OVERWRITTEN = """\
import builtins, sys, unittest
builtins.all = builtins.any = builtins.isinstance = lambda *args, **kwargs: True
class AssertionError(Exception): pass
builtins.AssertionError = AssertionError
def check(candidate): return True
def {name}(*args, **kwargs): return None
sys.modules['__main__'].__dict__['check'] = check
"""


def empty_probes() -> Iterator[tuple[str, str]]:
    """Yield completions without anything to read."""
    yield "empty", ""
    yield "white space", " \n\t\n "
    yield "zero-width characters", "\u200b\u200d\ufeff"


def probes(task: Task) -> Iterator[tuple[str, str]]:
    """Yield (name, completion) of each probe of a task that ends by itself."""
    yield from empty_probes()
    yield "prompt echoed", task.prompt_text
    yield "all options", "A B C D E (A) (B) (C) (D) yes no true false"
    yield "all small numbers", " ".join(map(str, range(101)))
    yield "many boxes", " ".join(rf"\boxed{{{number}}}" for number in range(-10, 101))
    yield "no answer", "The answer is clear, as everybody can see. I am sure that it is right."
    yield "long repetition", "the answer " * 5000
    yield "markup only", "<think></think><answer></answer>```python\n```\\boxed{}"
    name = _function_name(task)
    yield "exit 0", "import sys\nsys.exit(0)\n"
    yield "os._exit(0)", "import os\nos._exit(0)\n"
    yield "equal to everything", ALWAYS_EQUAL.format(name=name)
    yield "grader overwritten", GRADER_OVERWRITTEN.format(name=name)
    yield "success printed", "print('All tests passed')\nprint('OK')\nraise SystemExit(0)\n"


def endless_probes(task: Task) -> Iterator[tuple[str, str]]:
    """Yield probes that run until they are stopped, where completions are run."""
    name = _function_name(task)
    yield "endless loop", f"def {name}(*args, **kwargs):\n    while True: pass\n"
    yield "endless output", "while True: print('x' * 1000)\n"


def _function_name(task: Task) -> str:
    """Return the function that the task's tests call, as far as that can be read."""
    named = task.data.get("entry_point")
    if isinstance(named, str) and named.isidentifier():
        return named
    tests = task.data.get("tests")
    texts = [test for test in tests if isinstance(test, str)] if isinstance(tests, (list, tuple)) else []
    return next((name for text in texts for name in _called(text)), "solution")


def _called(text: str) -> Iterator[str]:
    """Yield the names that a piece of Python calls, the builtins left out."""
    with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not hasattr(builtins, node.func.id):
                yield node.func.id
