"""The math verifier against labelled real data: every disagreement is listed with its reason."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from collegium import Completion, Score, Task, Verdict
from collegium_verifier_math.verifier import MathVerifier


@pytest.fixture(scope="module")
def lenient() -> Iterator[MathVerifier]:
    verifier = MathVerifier()
    yield verifier
    verifier.close()


def rows(path: Path) -> list[dict[str, object]]:
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in text.splitlines()]


def disagreements(verifier: MathVerifier, cases: list[tuple[str, str, str, bool]]) -> dict[str, Verdict]:
    """Judge cases of (id, completion, reference, label); return the verdicts that are not the label's score."""
    completions = [Completion(text) for _, text, _, _ in cases]
    tasks = [Task(key, "?", reference=gold) for key, _, gold, _ in cases]
    verdicts = verifier.verify_batch(completions, tasks)
    wrong = {}
    for (key, _, _, label), verdict in zip(cases, verdicts, strict=True):
        if not (isinstance(verdict, Score) and verdict.value == float(label)):
            wrong[key] = verdict
    return wrong


def test_pairs_from_graders_unit_tests_agree(lenient: MathVerifier, real_data: Path) -> None:
    # A decimal comma; a sentence whose last number is not its answer; a reference that is broken LaTeX, hence an error.
    known = {"eq/6", "eq/285", "eq/206"}
    plain = [row for row in rows(real_data / "math_equiv.jsonl") if row["review"] == "ok"]
    cases = [(str(r["id"]), str(r["prediction"]), str(r["gold"]), bool(r["expected"])) for r in plain]
    assert len(cases) > 150
    assert set(disagreements(lenient, cases)) == known


def test_labelled_gsm8k_solutions_agree(lenient: MathVerifier, real_data: Path) -> None:
    cases = [
        (f"{r['model']}/{r['id']}", str(r["solution"]), str(r["gold"]), bool(r["is_correct"]))
        for r in rows(real_data / "gsm8k_model_solutions.jsonl.gz")
    ]
    assert len(cases) > 3000
    assert disagreements(lenient, cases) == {}


def test_every_reference_equals_itself(lenient: MathVerifier, real_data: Path) -> None:
    cases = [
        (str(r["id"]), f"\\boxed{{{r['answer']}}}", str(r["answer"]), True) for r in rows(real_data / "math500.jsonl")
    ]
    assert len(cases) > 300
    assert disagreements(lenient, cases) == {}


def test_no_reference_with_a_changed_digit_is_taken_for_the_reference(lenient: MathVerifier, real_data: Path) -> None:
    cases = []
    for row in rows(real_data / "math500.jsonl"):
        gold = str(row["answer"])
        cases += [(str(row["id"]), f"\\boxed{{{changed}}}", gold, False) for changed in with_last_digit_changed(gold)]
    assert len(cases) > 250
    assert disagreements(lenient, cases) == {}


def with_last_digit_changed(text: str) -> list[str]:
    at = max((index for index, character in enumerate(text) if character in "0123456789"), default=-1)
    return [] if at < 0 else [text[:at] + str((int(text[at]) + 3) % 10) + text[at + 1 :]]
