"""Measure items per second: the warm pool, a new sandbox per item, and a bare interpreter per item.

Run with ``python benchmarks/throughput.py``. The bare interpreter is what a script that calls ``python -c`` per item
would pay; it has no wall around it and stands here for its speed only.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable

from collegium import Completion, Task
from collegium_verifier_code.verifier import CodeVerifier

CODE = "def f(x): return x + 1"
TESTS = ["assert f(2) == 3", "assert f(0) == 1"]
TASK = Task("t", "", data={"tests": TESTS})


Figures = tuple[float, float]
"""Items per second, and CPU milliseconds per item (which a busy machine does not change)."""


def measure(items: int, work: Callable[[], object]) -> Figures:
    """Time some work; all processes that it starts must have ended when it returns."""
    start, cpu = time.perf_counter(), _cpu_seconds()
    work()
    return items / (time.perf_counter() - start), (_cpu_seconds() - cpu) / items * 1000


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def warm(workers: int, items: int) -> Figures:
    """Judge all items in one pool; its start is part of the cost."""

    def work() -> None:
        verifier = CodeVerifier({"workers": workers})
        verifier.verify_batch([Completion(CODE)] * items, [TASK] * items)
        verifier.close()

    return measure(items, work)


def fresh_sandbox(items: int) -> Figures:
    """Build a sandbox for each item."""
    return measure(items, lambda: [warm(1, 1) for _ in range(items)])


def fresh_interpreter(items: int) -> Figures:
    """Start an unprotected interpreter for each item."""
    command = [sys.executable, "-c", "\n".join([CODE, *TESTS])]
    return measure(items, lambda: [subprocess.run(command, check=True) for _ in range(items)])


def main() -> None:
    """Print the table."""
    for name, figures in (
        ("warm pool, 2 workers", warm(2, 1000)),
        ("warm pool, 1 worker", warm(1, 500)),
        ("a new sandbox per item", fresh_sandbox(20)),
        ("a bare interpreter per item", fresh_interpreter(40)),
    ):
        print(f"{name:28} {figures[0]:7.1f} items/s {figures[1]:7.1f} CPU ms/item")


if __name__ == "__main__":
    main()
