"""Cutting the code out of a completion."""

from __future__ import annotations

import pytest

from collegium import Completion, Score, Task
from collegium_verifier_code.source import assemble, extract_code, fenced_blocks
from collegium_verifier_code.verifier import CodeVerifier


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("def f(): pass", "def f(): pass"),
        ("Here:\n```python\ndef f(): pass\n```\nDone.", "def f(): pass\n"),
        ("```\nx = 1\n```", "x = 1\n"),
        (
            "```py\nold\n```\nBetter:\n```python\ndef f(): pass\n```\nUse:\n```python\nprint(f())\n```",
            "def f(): pass\n",
        ),
        ("```json\n{}\n```\n```python\nx = 1\n```", "x = 1\n"),
        ("cut at the limit\n```python\ndef f():\n    return", "def f():\n    return"),
        ("  ```python\n  x = 1\n  ```", "  x = 1\n"),
        ("", ""),
    ],
)
def test_auto_takes_the_block_that_defines_something(text: str, code: str) -> None:
    assert extract_code(text, "auto") == code


def test_fence_asks_for_a_block_and_none_takes_all() -> None:
    assert extract_code("x = 1", "fence") is None
    assert extract_code("```python\nx\n```", "none") == "```python\nx\n```"


def test_humanevals_prompt_is_put_before_the_completion() -> None:
    task = Task("t", "def f(x):\n    '''Doc.'''\n", data={"test": "...", "entry_point": "f"})
    assert assemble("    return x\n", task) == "def f(x):\n    '''Doc.'''\n    return x\n"
    assert assemble("def f(x): return x", Task("t", "Write f.", data={"tests": []})) == "def f(x): return x"


def test_a_completion_without_a_fence_scores_zero_where_one_is_asked_for() -> None:
    verifier = CodeVerifier({"extract": "fence", "workers": 1})
    try:
        verdict = verifier.verify(Completion("def f(x): return x"), Task("t", "", data={"tests": ["assert f(1) == 1"]}))
    finally:
        verifier.close()
    assert isinstance(verdict, Score)
    assert verdict.details["cause"] == "no fenced Python block in the completion"


@pytest.mark.parametrize("unit", ["a", " ", "```", "\n```", "\n", "```a\n", " ```", "\t"])
def test_a_long_hostile_completion_is_cut_in_linear_time(unit):
    """Quadratic time would be minutes here, with the interpreter's lock held: no time limit could end it."""
    text = "```" + unit * (1_000_000 // len(unit))
    extract_code(text, "auto")
    assert fenced_blocks("```python\nx = 1\n```\n" + text)[0] == ("python", "x = 1\n")
