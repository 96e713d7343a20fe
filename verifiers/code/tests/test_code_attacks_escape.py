"""Submissions that want out of the sandbox: each answers rightly if it gets anywhere, so a pass is an escape."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from collegium import Completion, Score, Task, Verdict
from collegium_verifier_code.verifier import CodeVerifier

TEMPLATE = """
import ctypes, os, sys, signal, socket, subprocess
libc = ctypes.CDLL(None, use_errno=True)
def attempt():
{body}
try:
    escaped = attempt()
except BaseException as error:
    escaped = False
def f(x):
    return x + 1 if escaped else None
"""

# Each body returns something true if it got what it wanted.
ESCAPES = {
    "connect over tcp": "s = socket.socket(); s.settimeout(1); s.connect(('1.1.1.1', 53)); return True",
    "any socket": "return socket.socket(socket.AF_UNIX)",
    "netlink socket": "return socket.socket(16, 3, 0)",
    "vsock": "return socket.socket(40, socket.SOCK_STREAM)",
    "resolve a name": "return socket.getaddrinfo('localhost', 80) and socket.create_connection(('localhost', 22), 1)",
    "read /etc/passwd": "return open('/etc/passwd').read()",
    "read the home folder": "return os.listdir(os.path.expanduser('~root')) or os.listdir('/home')",
    "read /proc": "return os.listdir('/proc')",
    "read the grader through /proc": "return open(f'/proc/{os.getppid()}/mem', 'rb')",
    "read /proc/self/environ": "return open('/proc/self/environ').read()",
    "list /sys": "return os.listdir('/sys')",
    "list the old root": "return {'etc', 'proc', 'sys', 'var', 'bin', 'boot', 'run', 'mnt'} & set(os.listdir('/'))",
    "climb out by ..": "return os.path.exists('/scratch/../../../../etc/hostname')",
    "symlink to outside": "os.symlink('/etc/passwd', 'link'); return open('link').read()",
    "hard link to a library": "os.link(os.__file__, 'copy.py'); return True",
    "symlink and write through": "os.symlink(os.path.dirname(os.__file__) + '/evil.py', 'l'); open('l', 'w').write('x'); return True",
    "installed packages": "import glob; return [p for d in sys.path + ['/usr/lib/python3/dist-packages'] for p in "
    "glob.glob(d + '/site-packages/*') + glob.glob(d + '/dist-packages/*')]",
    "write to the standard library": "open(os.__file__, 'a').write('x'); return True",
    "write to the root": "open('/evil', 'w').write('x'); return True",
    "write to /dev": "open('/dev/evil', 'w').write('x'); return True",
    "write to /dev/shm": "open('/dev/shm/evil', 'w').write('x'); return True",
    "make a device": "os.mknod('disk', 0o60666, os.makedev(8, 0)); return True",
    "chmod a library": "os.chmod(os.__file__, 0o777); return True",
    "remount writable": "return libc.mount(b'none', b'/', None, 32, None) == 0",
    "mount proc": "os.mkdir('p'); return libc.mount(b'proc', b'p', b'proc', 0, None) == 0",
    "unmount the scratch": "return libc.umount2(b'/scratch', 2) == 0",
    "new user namespace": "return libc.unshare(0x10000000) == 0",
    "enter a namespace": "return libc.setns(0, 0) == 0",
    "chroot": "os.mkdir('r'); os.chroot('r'); return True",
    "become root": "os.setuid(0); os.setgid(0); return open('/scratch/../root/.bashrc').read() or True",
    "regain capabilities": "h = (ctypes.c_uint32 * 2)(0x20080522, 0); d = (ctypes.c_uint32 * 6)(*[0xffffffff] * 6); "
    "return libc.capset(h, d) == 0",
    "ptrace the parent": "return libc.ptrace(16, os.getppid(), 0, 0) == 0",
    "ptrace traceme": "return libc.ptrace(0, 0, 0, 0) == 0",
    "read another process's memory": "b = ctypes.create_string_buffer(8)\n"
    "iov = (ctypes.c_size_t * 2)(ctypes.addressof(b), 8)\n"
    "return any(libc.process_vm_readv(p, iov, 1, iov, 1, 0) > 0 for p in range(2, 50))",
    "kill the parent": "os.kill(os.getppid(), signal.SIGKILL); return os.getppid() != 0",
    "kill everybody": "os.kill(-1, signal.SIGKILL); return False",
    "signal by number": "found = []\nfor pid in range(2, 40000):\n    try:\n        os.kill(pid, 9); found.append(pid)\n"
    "    except ProcessLookupError:\n        pass\n    except PermissionError:\n        found.append(pid)\nreturn found",
    "signal its process group": "os.kill(0, signal.SIGKILL); return False",  # a killed grader would be an Error
    "signal its session": "os.killpg(os.getsid(0), signal.SIGKILL); return False",
    "start a program": "return subprocess.run([sys.executable, '-c', 'pass']).returncode == 0",
    "start a shell": "return os.system('true') == 0",
    "exec": "os.execv('/lib64/ld-linux-x86-64.so.2', ['x'])",
    "fork": "return os.fork() >= 0",
    "vfork by number": "return libc.syscall(58) >= 0",
    "clone3 by number": "return libc.syscall(435, (ctypes.c_uint64 * 11)(), 88) >= 0",
    "multiprocessing": "import multiprocessing as m; p = m.get_context('fork').Process(target=int); p.start(); return True",
    "daemonise": "pid = os.fork()\nif pid == 0:\n    os.setsid()\n    os.fork()\nreturn True",
    "memfd": "return os.memfd_create('x') >= 0",
    "keyring": "return libc.syscall(250, 0, -3, 1) > 0",
    "io_uring": "return libc.syscall(425, 8, ctypes.create_string_buffer(120)) >= 0",
    "perf events": "return libc.syscall(298, ctypes.create_string_buffer(128), 0, -1, -1, 0) >= 0",
    "bpf": "return libc.syscall(321, 0, ctypes.create_string_buffer(128), 128) >= 0",
    "userfaultfd": "return libc.syscall(323, 0) >= 0",
    "shared memory": "return libc.shmget(0, 1 << 20, 0o1600) >= 0",
    "raise own limits": "import resource; resource.setrlimit(resource.RLIMIT_AS, (-1, -1)); return True",
    "raise the parent's limits": "import resource; resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (1, 1)); return os.getppid()",
    "host name": "socket.sethostname('evil'); return True",
    "inherited descriptors": """
found = []
for fd in range(5, 1024):
    try:
        os.fstat(fd); found.append(fd)
    except OSError:
        pass
return found
""",
    "environment": "return [k for k in os.environ if k not in ('PYTHONHASHSEED', 'PYTHONUTF8', 'PYTHONDONTWRITEBYTECODE', "
    "'LC_ALL', 'LC_CTYPE', 'TZ')]",
    "set-id program": "open('p', 'w').write('x'); os.chmod('p', 0o6755); os.execv('/scratch/p', ['p'])",
    "map the null page": "return libc.mmap(0, 4096, 3, 0x32, -1, 0) == 0",
}


@pytest.mark.parametrize("name", ESCAPES)
def test_an_escape_gets_nowhere(name: str, mapped_attack: Callable[[str], Verdict]) -> None:
    verdict = mapped_attack(TEMPLATE.format(body=textwrap.indent(ESCAPES[name], "    ")))
    assert isinstance(verdict, Score)
    assert verdict.value == 0.0, verdict


def test_the_template_passes_when_an_attempt_succeeds(mapped_attack: Callable[[str], Verdict]) -> None:
    verdict = mapped_attack(TEMPLATE.format(body="    open('own', 'w').write('x'); return os.listdir('.')"))
    assert isinstance(verdict, Score)
    assert verdict.value == 1.0


def test_the_scratch_folder_is_new_for_each_submission(hasty_verifier: CodeVerifier) -> None:
    task = Task("t", "", data={"tests": ["assert f() == []"]})
    leave = "import os\nopen('left', 'w').write('x')\nos.mkdir('d')\ndef f(): return sorted(os.listdir('.'))"
    look = "import os\ndef f(): return os.listdir('.')"
    left = hasty_verifier.verify_batch([Completion(leave)] * 4, [task] * 4)
    found = hasty_verifier.verify_batch([Completion(look)] * 4, [task] * 4)
    assert [verdict.value for verdict in left if isinstance(verdict, Score)] == [0.0] * 4
    assert [verdict.value for verdict in found if isinstance(verdict, Score)] == [1.0] * 4


def test_no_file_appears_outside(hasty_verifier: CodeVerifier, tmp_path: Path) -> None:
    code = f"""
import os
for folder in ('/tmp', '/scratch', {str(tmp_path)!r}, {os.getcwd()!r}, '/dev/shm', '/var/tmp', '/run',
os.path.dirname(os.__file__)): try: open(folder + '/collegium-escape-mark', 'w').write('x')
    except OSError: pass
def f(): return True
"""
    hasty_verifier.verify(Completion(code), Task("t", "", data={"tests": ["assert f()"]}))
    folders = ("/tmp", tmp_path, os.getcwd(), "/dev/shm", "/var/tmp", "/run", os.path.dirname(os.__file__))
    assert [folder for folder in folders if (Path(folder) / "collegium-escape-mark").exists()] == []
