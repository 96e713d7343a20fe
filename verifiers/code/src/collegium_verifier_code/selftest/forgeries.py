"""Submissions that want to pass without solving the task."""

# ruff: noqa: E501  # a hostile text is easier to read whole
from __future__ import annotations

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
answers = [b'{"loaded": 1}', b'{"kinds": {"f": {"value": {"set": [[1], [2]]}}}}', b'[[[', b'{"value": {"int": "zz"}}']
for text in answers:
    os.write(4, len(text).to_bytes(4, 'big') + text)
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
    "list subclass equal to everything": """
class Yes(list):
    def __eq__(self, other): return True
def f(x): return Yes()
""",
    "dict subclass equal to everything": """
class Yes(dict):
    def __eq__(self, other): return True
def f(x): return Yes()
""",
    "float subclass equal to everything": """
class Yes(float):
    def __eq__(self, other): return True
    __hash__ = float.__hash__
def f(x): return Yes(0)
""",
    "tuple subclass equal to everything": """
class Yes(tuple):
    def __eq__(self, other): return True
    __hash__ = tuple.__hash__
def f(x): return Yes()
""",
    "array whose comparison is a true object": """
class Array:
    def __init__(self, items): self.items = items
    def __eq__(self, other): return Array([True])
    def __bool__(self): return True
    def __array__(self): return [3]
    def all(self): return True
def f(x): return Array([0])
""",
    "every special method says yes": """
class Yes:
    __eq__ = __lt__ = __gt__ = __le__ = __ge__ = __contains__ = lambda *a: True
    __bool__ = lambda self: True
    __len__ = __hash__ = __int__ = __index__ = lambda self: 3
    __sub__ = __rsub__ = __abs__ = __float__ = lambda *a: 0.0
def f(x): return Yes()
""",
    "class property that lies": """
class Yes:
    __class__ = property(lambda self: int)
    __eq__ = lambda *a: True
def f(x): return Yes()
""",
    "hash of the expected value": """
class Yes:
    def __init__(self, x): self.x = x
    def __hash__(self): return hash(self.x + 1)
    def __eq__(self, other): return True
def f(x): return Yes(x)
""",
    "object that runs code when unpickled": """
class Bomb:
    def __reduce__(self): return (exec, ("import builtins; builtins.abs = None",))
def f(x): return Bomb()
""",
    "pickle as bytes": "import pickle\ndef f(x): return pickle.dumps(x + 1)",
    "inspect the stack for the tests": """
import inspect
needle = ')2(f tressa'  # backwards, or it would find itself
def f(x):
    for info in inspect.stack():
        for value in [*info.frame.f_locals.values(), *info.frame.f_globals.values()]:
            if needle in repr(value)[::-1]: return x + 1
""",
    "read the harness's source": """
import sys
def f(x):
    for name in list(sys.modules):
        file = getattr(sys.modules[name], '__file__', '') or ''
        if 'collegium' in name and open(file).read(): return x + 1
""",
    "patch the harness's answer": """
import sys
class Yes:
    def __eq__(self, other): return True
for name, module in list(sys.modules.items()):
    if name.endswith('inside.submission'):
        module.Server.answer = lambda self, request: {'value': Yes(), 'changed': {}}
def f(x): return 0
""",
    "grader's modules imported and patched": """
import sys
for name in [n for n in sys.modules if n.endswith(('inside.grader', 'inside.supervisor', 'inside.runner'))]:
    module = sys.modules[name]
    module.grade = module.run = lambda *a: {'checks': [{'ok': True, 'cause': ''}] * 2, 'total': 2, 'cause': ''}
def f(x): return 0
""",
    "finalizer that exits": "import os\nclass D:\n    def __del__(self): os._exit(0)\ndef f(x):\n    D()\n    return 0",
    "excepthook and displayhook": "import sys\nsys.excepthook = sys.displayhook = lambda *a: sys.exit(0)\ndef f(x): raise ValueError",
    "exit from a thread": "import os, threading\nthreading.Thread(target=os._exit, args=(0,)).start()\ndef f(x): return 0",
    "alarm that exits": "import os, signal, time\nsignal.signal(signal.SIGALRM, lambda *a: os._exit(0))\nsignal.setitimer(signal.ITIMER_REAL, .01)\ndef f(x): time.sleep(.1); return 0",
    "pipe made non-blocking": "import os\nfor fd in range(5): os.set_blocking(fd, False)\ndef f(x): return 0",
    "signal-driven pipes": """
import fcntl, os
for fd in range(5):
    for owner in (0, 1, -1, os.getppid()):
        try:
            fcntl.fcntl(fd, fcntl.F_SETOWN, owner)
            fcntl.fcntl(fd, fcntl.F_SETSIG, 9)
            fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)
        except OSError: pass
def f(x): return 0
""",
    "look-alike name": "def \u0192(x): return x + 1",
    "expected value hidden in a nan": "def f(x): return float('nan')",
    "assert optimised away": "import sys\nsys.flags = type('F', (), {'optimize': 2})()\n__debug__ if True else 0\ndef f(x): return 0",
    "coroutine as a result": "async def f(x): return x + 1",
    "exception whose text raises": "class E(Exception):\n    def __str__(self): raise SystemExit(0)\ndef f(x): raise E",
    "exception named like a built-in": "class StopIteration(Exception): pass\nclass AssertionError(StopIteration): pass\ndef f(x): raise AssertionError",
}
