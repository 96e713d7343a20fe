"""Submissions that want to use up the machine, and whole programs that cheat or never end."""

# ruff: noqa: E501  # a hostile text is easier to read whole
from __future__ import annotations

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
    "nested comprehension": "x = " + "[" * 90 + "0" + " for a in range(9)]" * 90,
    "nested functions": "\n".join(" " * depth + "def f(x):" for depth in range(2000)),
    "constant folding by text": "x = ('a' * 4096) * 4096 * 4096",
    "many nested f-strings": "x = " + "f'{" * 150 + "1" + "}'" * 150,
    "long chain of attributes": "x = a" + ".b" * 100_000,
    "huge literal": "x = " + "9" * 3_000_000,
    "faulting on purpose": "import faulthandler\ndef f(x): faulthandler._sigsegv()",
    "overflow of the C stack": "import faulthandler\ndef f(x): faulthandler._stack_overflow()",
    "bad code object": "def f(x): pass\nf.__code__ = f.__code__.replace(co_code=b'\\x64\\xff' * 50)",
    "generator that never ends": "def f(x):\n    while True: yield x",
    "endless text of a result": "class R:\n    def __repr__(self):\n        while True: pass\ndef f(x): return R()",
    "endless text of an exception": "class E(Exception):\n    def __str__(self):\n        while True: pass\ndef f(x): raise E",
    "huge text of an exception": "def f(x): raise ValueError('x' * 100_000_000)",
    "endless iteration of a list": "class L(list):\n    def __iter__(self):\n        while True: yield 1\ndef f(x): return L()",
    "endless metaclass": "class M(type):\n    def __instancecheck__(c, o):\n        while True: pass\n    def __mro_entries__(s, b): return ()\ndef f(x): raise type('E', (Exception,), {'__str__': lambda s: 'x' * (1 << 30)})()",
    "argument grown in place": "def f(x):\n    globals()['k'] = [0] * 10 ** 6\n    return k",
    "zip bomb in memory": """
import io, zipfile
def f(x):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w', zipfile.ZIP_DEFLATED) as z:
        with z.open('bomb', 'w') as entry:
            for _ in range(64): entry.write(bytes(1 << 24))
    return zipfile.ZipFile(buffer).read('bomb')
""",
    "zip bomb on disk": """
import io, zipfile
def f(x):
    with zipfile.ZipFile('b.zip', 'w', zipfile.ZIP_DEFLATED) as z:
        for number in range(40): z.writestr(str(number), bytes(1 << 22))
    try: zipfile.ZipFile('b.zip').extractall('out')
    except OSError: return None
    return x + 1
""",
    "endless hashing": "class K:\n    n = 0\n    def __hash__(self):\n        while True: pass\ndef f(x): return {K(): 1}",
    "quadratic parsing": "def f(x): return int('9' * 4000) ** 40000 % 7 if x < 0 else eval('+'.join(['1'] * 10 ** 6))",
    "signal storm": """
import os, signal
signal.signal(signal.SIGALRM, signal.SIG_IGN)
def f(x):
    while True: os.kill(os.getpid(), signal.SIGALRM)
""",
    "alarm without a handler": "import os, signal\ndef f(x):\n    os.kill(os.getpid(), signal.SIGALRM)\n    return None",
    "stopped with a continued thread": "import os, signal, threading\nthreading.Timer(.01, os.kill, (os.getpid(), signal.SIGTSTP)).start()\ndef f(x):\n    while True: pass",
    "threads left behind": """
import threading, time
def work():
    while True: time.sleep(.001)
for _ in range(30): threading.Thread(target=work).start()
def f(x): return None
""",
    "inotify instances": """
import ctypes
def f(x):
    libc = ctypes.CDLL(None)
    made = 0
    while libc.inotify_init() >= 0: made += 1
    return x + 1 if made > 64 else None
""",
    "socket pairs full of bytes": """
import socket
def f(x):
    kept = []
    try:
        while True:
            pair = socket.socketpair(); kept.append(pair); pair[0].setblocking(False)
            try:
                while True: pair[0].send(bytes(1 << 16))
            except BlockingIOError: pass
    except OSError: return x + 1 if len(kept) > 64 else None
""",
    "deep folder": """
import os
def f(x):
    try:
        for _ in range(100000): os.mkdir('d'); os.chdir('d')
    except OSError: return None
    return x + 1
""",
    "scratch made unreadable": "import os\nos.mkdir('d'); open('d/x', 'w').close(); os.chmod('d', 0)\ndef f(x): return None",
    "core dump": "import os, resource\ndef f(x):\n    try: resource.setrlimit(resource.RLIMIT_CORE, (-1, -1))\n    except (OSError, ValueError): pass\n    os.abort()",
    "source of surrogates": "x = '\ud800\udfff'\ndef f(x): return None",
}


PROGRAMS = {
    "output flood": "while True: print('x' * 1000)",
    "error flood": "import sys\nwhile True: sys.stderr.write('x' * 1000)",
    "closed output, still running": "import os, time\nos.close(1); os.close(2)\ntime.sleep(1e6)",
    "right output, then a crash": "print(3)\nimport sys; sys.stdout.flush()\nimport ctypes; ctypes.string_at(0)",
    "right output, then status 1": "print(3)\nraise SystemExit(1)",
    "right output, then no end": "print(3, flush=True)\nwhile True: pass",
    "right output, then a waiting thread": "import threading, time\nthreading.Thread(target=time.sleep, args=(1e6,)).start()\nprint(3)",
    "expected output read from somewhere": "import os, sys\nprint(os.listdir('/'), sys.argv, os.environ)",
    "right output with null bytes": "print('3\\0')",
    "right output in surrogates": "import sys\nsys.stdout.buffer.write(b'3\\xed\\xb2\\x80\\n')",
    "right output on standard error": "import sys\nprint(3, file=sys.stderr)",
    "right output by a look-alike digit": "print('\\uff13')",
    "right output among others": "print('1 2 3')\nprint(3)",
}
