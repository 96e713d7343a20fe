"""A seccomp filter for the submission: no new processes, no sockets, no way at the kernel's rarely used doors.

A list of what is refused, not of what is allowed: the namespaces, the absent capabilities and the limits are the
walls, and this filter narrows what can be tried against them. Refused calls fail with EPERM, so that a submission
sees a plain `PermissionError`.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import struct

from collegium_verifier_code.inside import kernel

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
CLONE = {"x86_64": 56, "aarch64": 220}
CLONE3 = 435
CLONE_THREAD = 0x00010000
X32_BIT = 0x40000000

LOAD, JEQ, JGE, JSET, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050000, 0x80000000
NUMBER, ARCH, FIRST_ARGUMENT = 0, 4, 16

# Name to (x86_64, aarch64) numbers; 0 where the machine has no such call.
REFUSED: dict[str, tuple[int, int]] = {
    # other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424),
    "process_madvise": (440, 440),
    # new processes and programs
    "fork": (57, 0), "vfork": (58, 0), "execve": (59, 221), "execveat": (322, 281),
    # namespaces and mounts
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "chroot": (161, 51), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442),
    "open_tree_attr": (467, 467), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    # network and channels whose memory no limit counts
    "socket": (41, 198), "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194),
    "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180), "splice": (275, 76), "tee": (276, 77),
    "vmsplice": (278, 75),
    # kernel machinery that Python code has no use for
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218), "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "kexec_load": (246, 104),
    "kexec_file_load": (320, 294), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "quotactl": (179, 60), "quotactl_fd": (443, 443), "swapon": (167, 224),
    "swapoff": (168, 225), "reboot": (169, 142), "sethostname": (170, 161), "setdomainname": (171, 162),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "adjtimex": (159, 171), "clock_adjtime": (305, 266),
    "acct": (163, 89), "syslog": (103, 116), "personality": (135, 92), "iopl": (172, 0), "ioperm": (173, 0),
    "modify_ldt": (154, 0), "fanotify_init": (300, 262), "mbind": (237, 235), "migrate_pages": (256, 238),
    "move_pages": (279, 239),
}  # fmt: skip


class Program(ctypes.Structure):
    """The kernel's ``struct sock_fprog``."""

    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)


def _refuse(number: int, code: int = errno.EPERM) -> bytes:
    return _instruction(JEQ, number, 0, 1) + _instruction(RETURN, REFUSE | code)


@functools.cache
def build(machine: str) -> bytes:
    """Assemble the filter for a machine, as the kernel's 8-byte instructions.

    Raises:
        OSError: If the machine's call numbers are not known here.
    """
    if machine not in AUDIT_ARCH:
        raise OSError(f"no seccomp filter for machine {machine!r}, only for {', '.join(AUDIT_ARCH)}")
    column = list(AUDIT_ARCH).index(machine)
    code = _instruction(LOAD, ARCH) + _instruction(JEQ, AUDIT_ARCH[machine], 1, 0) + _instruction(RETURN, KILL)
    code += _instruction(LOAD, NUMBER)
    code += _instruction(JGE, X32_BIT, 0, 1) + _instruction(RETURN, KILL)
    code += b"".join(_refuse(numbers[column]) for numbers in REFUSED.values() if numbers[column])
    code += _refuse(CLONE3, errno.ENOSYS)  # its flags lie in memory, out of a filter's sight; libc falls back to clone
    code += _instruction(JEQ, CLONE[machine], 1, 0) + _instruction(RETURN, ALLOW)
    code += _instruction(LOAD, FIRST_ARGUMENT) + _instruction(JSET, CLONE_THREAD, 1, 0)
    return code + _instruction(RETURN, REFUSE | errno.EPERM) + _instruction(RETURN, ALLOW)


def install() -> None:
    """Put the filter on this process and all it starts."""
    code = build(os.uname().machine)
    program = Program(len(code) // 8, code)
    kernel.prctl(kernel.PR_SET_SECCOMP, 2, ctypes.byref(program))
