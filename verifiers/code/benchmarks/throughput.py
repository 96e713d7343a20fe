"""Measure items per second: the warm pool, a new sandbox per item, and a bare interpreter per item.

Run with ``python benchmarks/throughput.py``. The bare interpreter is what a script that calls ``python -c`` per item
would pay; it has no wall around it and stands here for its speed only.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

from collegium import Completion, Task
from collegium_verifier_code.verifier import CodeVerifier

CODE = "def f(x): return x + 1"
TESTS = ["assert f(2) == 3", "assert f(0) == 1"]
TASK = Task("t", "", data={"tests": TESTS})


def rate(items: int, work: Callable[[], object]) -> float:
    """Time some work and give its items per second."""
    start = time.perf_counter()
    work()
    return items / (time.perf_counter() - start)


def warm(workers: int, items: int) -> float:
    """Judge all items in one pool that is already there."""
    verifier = CodeVerifier({"workers": workers})
    verifier.verify(Completion(CODE), TASK)
    result = rate(items, lambda: verifier.verify_batch([Completion(CODE)] * items, [TASK] * items))
    verifier.close()
    return result


def fresh_sandbox(items: int) -> float:
    """Build a sandbox for each item."""

    def work() -> None:
        for _ in range(items):
            verifier = CodeVerifier({"workers": 1})
            verifier.verify(Completion(CODE), TASK)
            verifier.close()

    return rate(items, work)


def fresh_interpreter(items: int) -> float:
    """Start an unprotected interpreter for each item."""
    script = "\n".join([CODE, *TESTS])

    def work() -> None:
        for _ in range(items):
            subprocess.run([sys.executable, "-c", script], check=True)

    return rate(items, work)


def main() -> None:
    """Print the table."""
    print(f"warm pool, 2 workers            {warm(2, 600):8.1f} items/s")
    print(f"warm pool, 1 worker             {warm(1, 300):8.1f} items/s")
    print(f"a new sandbox per item          {fresh_sandbox(20):8.1f} items/s")
    print(f"a bare interpreter per item     {fresh_interpreter(40):8.1f} items/s (no sandbox)")


if __name__ == "__main__":
    main()
