"""What the `code` verifier is measured on: reference solutions, mutants of them, and the attack set."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from collegium.audit import AuditSpec
from collegium.testing.conformance.cases import Case
from collegium_verifier_code.selftest import ADD_ONE, SUM, functions, programs
from collegium_verifier_code.selftest.mutants import KINDS, Mutant, mutants

VERIFIER = "collegium-verifier-code/code"
REFERENCES = {"extract": "none", "timeout_s": 20.0}
"""A reference solution is slow on a busy machine: MBPP's task 123 computes for seconds."""
MUTANTS = {"extract": "none", "timeout_s": 2.0}
HUMANEVAL = "HumanEval, canonical solutions"
MBPP = "MBPP, reference code"
MUTANT_KINDS = (*KINDS, "truncated")
EQUIVALENT = "the tests do not see the change: the mutant is equivalent, or the task's tests are too few"


def rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def humaneval(data: Path) -> list[Case]:
    """Return HumanEval's tasks with their canonical solutions."""
    return [
        Case(
            id=row["task_id"],
            prompt=row["prompt"],
            completion=row["canonical_solution"],
            expected=1,
            task={"test": row["test"], "entry_point": row["entry_point"]},
        )
        for row in rows(data / "humaneval.jsonl")
    ]


def mbpp(data: Path) -> list[Case]:
    """Return MBPP's tasks with their reference code."""
    return [
        Case(
            id=f"mbpp/{row['task_id']}",
            prompt=row["prompt"],
            completion=row["code"],
            expected=1,
            task={"tests": row["test_list"], "setup": row["test_setup_code"]},
        )
        for row in rows(data / "mbpp.jsonl")
    ]


def mbpp_challenge(data: Path) -> list[Case]:
    """Return the tasks that have challenge tests, with those tests."""
    return [
        Case(
            id=f"challenge/{row['task_id']}",
            prompt=row["prompt"],
            completion=row["code"],
            expected=1,
            task={"tests": row["challenge_test_list"], "setup": row["test_setup_code"]},
        )
        for row in rows(data / "mbpp.jsonl")
        if row["challenge_test_list"]
    ]


def mbpp_sanitized(data: Path) -> list[Case]:
    """Return the reviewed part of MBPP, with its own code and tests."""
    return [
        Case(
            id=f"sanitized/{row['task_id']}",
            prompt=row["sanitized_prompt"],
            completion=row["sanitized_code"],
            expected=1,
            task={"tests": row["sanitized_test_list"], "setup": "\n".join(row["sanitized_test_imports"])},
        )
        for row in rows(data / "mbpp.jsonl")
        if row["sanitized"]
    ]


def mutated(cases: Sequence[Case]) -> dict[str, list[Case]]:
    """Return, per kind of change, the mutants of right solutions, expected to fail.

    Of a HumanEval task only the completion is changed, never the prompt's code.
    """
    found: dict[str, list[Case]] = {kind: [] for kind in MUTANT_KINDS}
    for case in cases:
        prefix = case.prompt if "test" in case.task else ""
        for mutant in mutants(prefix + case.completion, case.id, after_line=prefix.count("\n")):
            found[mutant.kind].append(_mutant_case(case, mutant))
    return found


def _mutant_case(case: Case, mutant: Mutant) -> Case:
    """Label a mutant; HumanEval's prompt opens a function, which is ended so that the mutant can define it anew."""
    completion = f"    pass\n\n\n{mutant.text}" if "test" in case.task else mutant.text
    return case.model_copy(update={"id": f"{case.id}/{mutant.kind}", "completion": completion, "expected": 0.0})


def attacks() -> list[Case]:
    """Return the attack set."""
    families = ((functions(), ADD_ONE), (programs(), SUM))
    return [
        Case(id=name, completion=text, expected=0, task=task)
        for texts, task in families
        for name, text in texts.items()
    ]


def audits(data: Path) -> Iterator[AuditSpec]:
    """Yield the audits, in the order of the README's table."""
    upstream = "the data set's own solutions and tests"
    right = {HUMANEVAL: humaneval(data), MBPP: mbpp(data)}
    for name, cases in right.items():
        yield AuditSpec(name, VERIFIER, cases, REFERENCES, source=upstream)
    for name, cases in (
        ("MBPP, challenge tests", mbpp_challenge(data)),
        ("MBPP sanitized, reference code", mbpp_sanitized(data)),
    ):
        yield AuditSpec(name, VERIFIER, cases, REFERENCES, source=upstream)
    for name, cases in right.items():
        for kind, changed in mutated(cases).items():
            yield AuditSpec(
                name=f"{name.partition(',')[0]} mutants: {kind}",
                verifier=VERIFIER,
                cases=changed,
                options=MUTANTS,
                explained={case.id: EQUIVALENT for case in changed},
                source="one seeded change of the reference",
                note="agreement is the share caught",
            )
    yield AuditSpec(
        name="attack set",
        verifier=VERIFIER,
        cases=attacks(),
        options={"extract": "none", "timeout_s": 1.0},
        source="this package",
        note="0 false positives: nothing forged, nothing escaped",
    )
