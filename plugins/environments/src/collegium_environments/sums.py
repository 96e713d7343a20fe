"""A small environment in the library's own terms: sums of two numbers, judged by equality."""

from __future__ import annotations

import importlib
import random
from typing import Any


def sums(size: int) -> Any:
    """Return the environment; a quarter of the questions is its evaluation set."""
    datasets, vf = importlib.import_module("datasets"), importlib.import_module("verifiers")
    rows = [{"question": f"{a}+{b}=", "answer": str(a + b)} for a in range(size) for b in range(size)]
    random.Random(0).shuffle(rows)
    held = len(rows) // 4
    return vf.SingleTurnEnv(
        dataset=datasets.Dataset.from_list(rows[held:]),
        eval_dataset=datasets.Dataset.from_list(rows[:held]),
        rubric=vf.Rubric(funcs=[equal]),
    )


def equal(completion: list[Any], answer: str) -> float:
    """Return 1 if the completion is the answer, white space around it aside."""
    return float(str(completion[-1]["content"]).strip() == answer)
