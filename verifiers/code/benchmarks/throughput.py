"""Measure items per second, each way with two items at a time: run with ``python benchmarks/throughput.py``.

The fair comparison for the warm pool is a fresh interpreter per item *behind the same walls*. A bare ``python -c`` per
item has no wall around it and judges nothing; it stands here for its speed only.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from collegium import Completion, Score, Task, Verdict
from collegium_verifier_code.verifier import CodeVerifier

CODE = "def f(x): return x + 1"
TESTS = ["assert f(2) == 3", "assert f(0) == 1"]
TASK = Task("t", "", data={"tests": TESTS})
AT_ONCE = 2
REPEATS = 3

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


def _each(items: int, work: Callable[[int], object]) -> None:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(work, range(items)))


def warm(workers: int, items: int) -> Figures:
    """Judge all items in one pool; its start is part of the cost."""

    def work() -> None:
        verifier = CodeVerifier({"workers": workers})
        try:
            _check(verifier.verify_batch([Completion(CODE)] * items, [TASK] * items))
        finally:
            verifier.close()

    return measure(items, work)


def _check(verdicts: object) -> None:
    assert isinstance(verdicts, list)
    wrong = [verdict for verdict in verdicts if not _passes(verdict)]
    if wrong:
        raise RuntimeError(f"{len(wrong)} right submissions did not pass, the first with {wrong[0]}")


def _passes(verdict: Verdict) -> bool:
    return isinstance(verdict, Score) and verdict.value == 1.0


def fresh_sandbox(items: int) -> Figures:
    """Start an interpreter and put up all walls for each item."""
    return measure(items, lambda: _each(items, lambda _: warm(1, 1)))


def bare_interpreter(items: int) -> Figures:
    """Start an unprotected interpreter for each item."""
    command = [sys.executable, "-c", "\n".join([CODE, *TESTS])]
    return measure(items, lambda: _each(items, lambda _: subprocess.run(command, check=True)))


def best(runs: list[Figures]) -> Figures:
    """Take the run that other work on the machine disturbed least."""
    return max(runs)


def main() -> None:
    """Print the table."""
    ways: dict[str, Callable[[], Figures]] = {
        "warm pool": lambda: warm(AT_ONCE, 400),
        "a fresh sandboxed interpreter per item": lambda: fresh_sandbox(20),
        "a bare interpreter per item, no sandbox": lambda: bare_interpreter(60),
    }
    found: dict[str, list[Figures]] = {name: [] for name in ways}
    for _ in range(REPEATS):  # in turn, so that other work disturbs all alike
        for name, way in ways.items():
            found[name].append(way())
    pool = best(found["warm pool"])
    for name, runs in found.items():
        rate, cpu = best(runs)
        print(f"{name:40} {rate:7.1f} items/s {cpu:6.1f} CPU ms/item   warm pool: {pool[0] / rate:4.1f}x")


if __name__ == "__main__":
    main()
