"""What one submission may use."""

from __future__ import annotations

import resource
from dataclasses import dataclass

MEGABYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """Hard limits of one submission; the item's wall limit is the grader's and the trainer's to keep."""

    memory_mb: int = 256
    """Address space of the process."""
    scratch_mb: int = 16
    """Scratch folder, all files together; also the largest single file."""
    cpu_s: int = 20
    """Processor seconds."""
    threads: int = 64
    """Threads; new processes are refused altogether."""
    files: int = 64
    """Open files."""
    output_kb: int = 1024
    """Standard output of a program; one reply of a function."""

    def apply(self) -> None:
        """Put the limits on this process, for good."""
        for limit, value in (
            (resource.RLIMIT_AS, self.memory_mb * MEGABYTE),
            (resource.RLIMIT_FSIZE, self.scratch_mb * MEGABYTE),
            (resource.RLIMIT_CPU, self.cpu_s),
            (resource.RLIMIT_NPROC, self.threads),
            (resource.RLIMIT_NOFILE, self.files),
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_MEMLOCK, 0),
            (resource.RLIMIT_MSGQUEUE, 0),
        ):
            restrict(limit, value)


def restrict(limit: int, value: int) -> None:
    """Set a limit for good, or keep the one that is there if it is tighter."""
    _, hard = resource.getrlimit(limit)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(limit, (value, value))
