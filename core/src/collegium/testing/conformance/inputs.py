"""What components are tried on: hostile completions, samples of several domains, pools of tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from collegium.task import Completion, Sample, Task

MEGABYTE = 1_000_000

HOSTILE: Mapping[str, str] = {
    "empty": "",
    "white space": " \t\n" * 50,
    "NUL": "4\x00\x00",
    "lone surrogate": "4 \ud800 \udfff",
    "unicode": "\u202e４ ∑ \U0001f9ee e\u0301 \u0663",
    "unclosed box": "\\boxed{" * 50,
    "unclosed fence": "```python\ndef f(:\n",
    "unclosed tag": "<answer><think>4</answer",
    "broken JSON": '{"answer": [4, ',
    "deep nesting": "(" * 2_000 + "4" + ")" * 2_000,
    "not a number": "nan inf -inf 1e999999 1/0",
    "huge number": "9" * 6_000,
    "backslashes": "\\" * 501,
}
"""Completions of a kilobyte or so that have broken verifiers."""

HUGE: Mapping[str, str] = {
    "1 MB of one letter": "a" * MEGABYTE,
    "1 MB of words": "four 4 " * (MEGABYTE // 7),
    "1 MB of lines": "4\n" * (MEGABYTE // 2),
    "1 MB of brackets": "{[(" * (MEGABYTE // 3),
}
"""Completions of a megabyte."""

DEFAULT_TASK = Task("conformance", "2 + 2 = ?", "4", {}, "conformance")
"""The task where a package gives no cases."""


def domain_samples() -> list[Sample]:
    """Return samples of three domains, without and with a completion."""
    tasks = [Task(f"{domain}-{n}", f"{n}?", str(n), {}, domain) for domain in ("math", "code", "law") for n in range(2)]
    return [Sample(task) for task in tasks] + [Sample(task, Completion("4"), 1) for task in tasks]


def task_pools() -> dict[str, Sequence[Task]]:
    """Return training tasks of three domains of different size."""
    sizes = {"math": 12, "code": 5, "law": 1}
    return {
        domain: [Task(f"{domain}-{n}", f"{domain} {n}?", str(n), {}, domain) for n in range(size)]
        for domain, size in sizes.items()
    }
