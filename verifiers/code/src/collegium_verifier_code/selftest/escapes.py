"""Attempts to get out of the sandbox: each answers rightly if it gets anywhere, so a pass is an escape."""

# ruff: noqa: E501  # a hostile text is easier to read whole
from __future__ import annotations

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
    "abstract socket": "s = socket.socket(socket.AF_UNIX); s.bind(chr(0) + 'x'); return True",
    "push a character to the terminal": "import fcntl, termios\n"
    "return any(fcntl.ioctl(os.open(t, os.O_RDWR), termios.TIOCSTI, b'x') == 0 for t in ('/dev/tty', '/dev/console'))",
    "push a character to standard input": "import fcntl, termios; return fcntl.ioctl(0, termios.TIOCSTI, b'x') == 0",
    "open a pseudo-terminal": "import pty; return pty.openpty()",
    "shared memory of multiprocessing": "from multiprocessing import shared_memory as s; return s.SharedMemory(create=True, size=9)",
    "named semaphore": "libc.sem_open.restype = ctypes.c_void_p; return libc.sem_open(b'/x', 0o100, 0o600, 1)",
    "message queue": "return libc.mq_open(b'/x', 0o102, 0o600, None) >= 0",
    "fork twice and leave the session": "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        while True: pass\nreturn True",
    "spawn": "return os.posix_spawn(sys.executable, [sys.executable, '-c', ''], {}) > 0",
    "a thread in new namespaces": "return libc.syscall(56, 0x40000000 | 0x20000 | 0x10000 | 0x800 | 0x100, 0, 0, 0, 0) > 0",
    "clone into a user namespace": "return libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0) >= 0",
    "32-bit system call": "import mmap\nm = mmap.mmap(-1, 4096, prot=7)\n"
    "m.write(bytes.fromhex('b814000000cd80c3'))\n"
    "return ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))() > 0",
    "x32 system call": "return libc.syscall(0x40000000 | 39) > 0",
    "mount a tmpfs": "os.mkdir('t'); return libc.mount(b'none', b't', b'tmpfs', 0, None) == 0",
    "bind a device": "os.mkdir('t'); return libc.mount(b'/dev', b't', None, 4096, None) == 0",
    "detached mount": "return libc.syscall(428, -100, b'/', 1) >= 0",
    "overlay by fsopen": "return libc.syscall(430, b'overlay', 0) >= 0",
    "move the scratch": "os.rename('/scratch', '/elsewhere'); return True",
    "hard link to a device": "os.link('/dev/null', 'null'); return True",
    "symlink to a device folder": "os.symlink('/dev', 'd'); open('d/evil', 'w').write('x'); return True",
    "archive that climbs out": "import io, tarfile, zipfile\n"
    "i = tarfile.TarInfo('../evil'); i.size = 1\n"
    "with tarfile.open('a.tar', 'w') as t: t.addfile(i, io.BytesIO(b'x'))\n"
    "tarfile.open('a.tar').extractall('/scratch')\nreturn os.path.exists('/evil')",
    "archive with a symlink out": "import io, tarfile\n"
    "l = tarfile.TarInfo('l'); l.type = tarfile.SYMTYPE; l.linkname = '/etc'\n"
    "with tarfile.open('a.tar', 'w') as t: t.addfile(l)\n"
    "tarfile.open('a.tar').extractall('.')\nreturn os.listdir('l')",
    "open by handle": "return libc.syscall(304, -100, ctypes.create_string_buffer(64), 0) >= 0",
    "realtime scheduling": "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50)); return True",
    "raise own priority": "os.nice(-5); return True",
    "lower the grader's priority": "os.setpriority(os.PRIO_PROCESS, 1, 19); os.setpriority(os.PRIO_USER, 0, 19) if os.getuid() == 0 else None; "
    "return len([p for p in range(1, 9) if p != os.getpid() and os.getpriority(os.PRIO_PROCESS, p) == 19]) > 0",
    "become a subreaper's parent": "return libc.prctl(36, 1, 0, 0, 0) == 0 and os.fork() >= 0",
    "drop the filter": "return libc.prctl(22, 0, 0, 0, 0) == 0 or libc.prctl(38, 0, 0, 0, 0) == 0",
    "trace by consent": "libc.prctl(0x59616d61, -1, 0, 0, 0); return libc.ptrace(0, 0, 0, 0) == 0",
    "kernel log": "return libc.klogctl(3, ctypes.create_string_buffer(64), 64) > 0 or open('/dev/kmsg').read(1)",
    "raw memory and ports": "return libc.ioperm(0x80, 1, 1) == 0 or open('/dev/mem', 'rb').read(1)",
    "set the clock": "import time; time.clock_settime(time.CLOCK_REALTIME, 0); return True",
    "core dump limit": "import resource; resource.setrlimit(resource.RLIMIT_CORE, (-1, -1)); return True",
    "copy from the grader by pidfd": "return libc.syscall(434, os.getppid() or 1, 0) >= 0 and libc.syscall(438, 0, 0, 0) >= 0",
}
