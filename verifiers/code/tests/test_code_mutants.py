"""Wrong solutions made from right ones: what they are, and that tests catch most of them."""

from __future__ import annotations

import ast
import json
import os
from pathlib import Path

import pytest

from collegium import Completion, Score, Task
from collegium_verifier_code.selftest.mutants import KINDS, mutants
from collegium_verifier_code.verifier import CodeVerifier

DATA = Path(os.environ.get("COLLEGIUM_DATA") or Path(__file__).resolve().parents[4] / "shared" / "data")
SOURCE = '''def f(xs, n):
    """Count."""
    total = 0
    for i in range(n):
        if xs[i] < 5:
            total = total + xs[i]
    return total
'''


def by_kind(source: str, **options: int) -> dict[str, str]:
    return {mutant.kind: mutant.text for mutant in mutants(source, "seed", **options)}


def test_each_kind_changes_what_it_says() -> None:
    found = by_kind(SOURCE)
    assert set(found) == {*KINDS, "truncated"}
    assert "total - xs[i]" in found["operator"]
    assert "xs[i] >= 5" in found["comparison"]
    assert "range(n + 1)" in found["off by one"] or "xs[i] <= 5" in found["off by one"]
    assert "total = 1" in found["constant"] or "< 6" in found["constant"]
    assert "return None" in found["returns None"]
    assert "pass" in found["statement deleted"]
    assert "return total" not in found["truncated"]


def test_a_docstring_is_never_what_is_changed() -> None:
    assert all('"""Count."""' in text for text in by_kind(SOURCE).values())
    assert "constant" not in by_kind('def f(x):\n    """One 1."""\n    return x\n')


def test_every_mutant_but_the_truncated_differs_in_its_syntax_tree() -> None:
    original = ast.dump(ast.parse(SOURCE))
    for kind, text in by_kind(SOURCE).items():
        if kind != "truncated":
            assert ast.dump(ast.parse(text)) != original


def test_the_same_seed_draws_the_same_places() -> None:
    assert list(mutants(SOURCE, "a")) == list(mutants(SOURCE, "a"))
    assert len({tuple(mutants(SOURCE, str(seed))) for seed in range(20)}) > 1


def test_lines_before_the_given_one_stay() -> None:
    helper = "def g(x):\n    return x + 1\n\n\n"
    source = helper + "def f(x):\n    return g(x) * 2\n"
    for kind, text in by_kind(source, after_line=helper.count("\n")).items():
        assert kind == "truncated" or "return x + 1" in text


def test_the_tests_of_mbpp_catch_most_mutants_and_each_gets_a_score(verifier: CodeVerifier) -> None:
    path = DATA / "mbpp.jsonl"
    if not path.exists():
        if os.environ.get("CI"):
            pytest.fail(f"{path} is missing; set COLLEGIUM_DATA")
        pytest.skip(f"{path} is not here")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()][::40]
    pairs = [
        (mutant.text, Task(f"{row['task_id']}", "", data={"tests": row["test_list"], "setup": row["test_setup_code"]}))
        for row in rows
        for mutant in mutants(row["code"], f"mbpp/{row['task_id']}")
        if mutant.kind in ("returns None", "truncated", "operator")
    ]
    verdicts = verifier.verify_batch([Completion(text) for text, _ in pairs], [task for _, task in pairs])
    values = [verdict.value for verdict in verdicts if isinstance(verdict, Score)]
    assert len(values) == len(pairs) >= 40
    assert sum(value == 0.0 for value in values) / len(values) > 0.9
