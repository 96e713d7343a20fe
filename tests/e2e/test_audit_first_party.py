"""The audit command on the first-party verifiers, with every form of task that a case may carry."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.e2e

BODY = "    return x + 1\n"
WHOLE = f"def f(x):\n{BODY}"
MATH = [
    {"id": "boxed", "prompt": "3*4?", "completion": "So \\boxed{12}.", "reference": "12", "expected": 1},
    {"id": "wrong", "prompt": "3*4?", "completion": "So \\boxed{13}.", "reference": "12", "expected": 0},
]
CODE = [
    {"id": "tests", "completion": WHOLE, "expected": 1, "task": {"tests": ["assert f(1) == 2"], "setup": "y = 1"}},
    {"id": "wrong", "completion": WHOLE, "expected": 0, "task": {"tests": ["assert f(1) == 3"]}},
    {"id": "humaneval", "prompt": "def f(x):\n", "completion": BODY, "expected": 1,
     "task": {"test": "def check(candidate):\n    assert candidate(1) == 2\n", "entry_point": "f"}},
    {"id": "io", "completion": "print(int(input()) * 2)", "expected": 1, "task": {"io": [{"stdin": "4\n", "stdout": "8\n"}]}},
    {"id": "io wrong", "completion": "print(9)", "expected": 0, "task": {"io": [{"stdin": "4\n", "stdout": "8\n"}]}},
]  # fmt: skip
NO_COMMA = {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
INSTRUCTIONS = [
    {"id": "kept", "completion": "no commas here", "expected": 1, "task": NO_COMMA},
    {"id": "broken", "completion": "a, b", "expected": 0, "task": NO_COMMA},
    {
        "id": "kept but for the first line",
        "completion": "Sure, here it is:\nno commas",
        "expected": 1,
        "task": NO_COMMA,
    },
]


@pytest.mark.parametrize(
    ("verifier", "settings", "cases"),
    [("math", [], MATH), ("code", ["timeout_s=1"], CODE), ("instructions", ["mode=loose"], INSTRUCTIONS)],
)
def test_it_agrees_on_every_form_and_no_probe_passes(verifier, settings, cases, cli, tmp_path):
    (tmp_path / "cases.jsonl").write_text("".join(json.dumps(case) + "\n" for case in cases))
    options = [part for setting in settings for part in ("--set", setting)]
    done = cli("audit", verifier, "--cases", "cases.jsonl", *options, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["cases"], found["agreement"]) == (len(cases), 1.0)
    assert found["exploits"]["passed"] == []
    assert found["perturbations"]["lost"] == found["perturbations"]["kept"] == []
    assert bool(found["perturbations"]["tried"]) is (verifier != "instructions")


def test_a_strict_verifier_differs_where_the_label_is_loose(cli, tmp_path):
    (tmp_path / "cases.jsonl").write_text("".join(json.dumps(case) + "\n" for case in INSTRUCTIONS))
    done = cli("audit", "instructions", "--cases", "cases.jsonl", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["false_negatives"] == ["kept but for the first line"]
