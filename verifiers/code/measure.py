"""What the `code` verifier is measured on: reference solutions, mutants of them, and the attack set."""

from __future__ import annotations

import ast
import difflib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from collegium.audit import AuditSpec
from collegium.testing.conformance.cases import Case
from collegium_verifier_code.selftest import ADD_ONE, SUM, functions, programs
from collegium_verifier_code.selftest.mutants import KINDS, Mutant, mutants, parse

VERIFIER = "collegium-verifier-code/code"
REFERENCES = {"extract": "none", "timeout_s": 20.0}
"""A reference solution is slow on a busy machine: MBPP's task 123 computes for seconds."""
MUTANTS = {"extract": "none", "timeout_s": 2.0}
HUMANEVAL = "HumanEval, canonical solutions"
MBPP = "MBPP, reference code"
SLOW = ("mbpp/123",)
"""Tasks whose reference computes for seconds: whether a mutant of it is stopped depends on the machine."""
OPENED = "    pass\n\n\n"
MUTANT_KINDS = (*KINDS, "truncated")
SURVIVORS = Path(__file__).with_name("mutants_that_pass.txt")
"""Ids of the mutants that the tests do not catch."""


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
    for case in (case for case in cases if case.id not in SLOW):
        prefix = case.prompt if "test" in case.task else ""
        for mutant in mutants(prefix + case.completion, case.id, after_line=prefix.count("\n")):
            found[mutant.kind].append(_mutant_case(case, mutant))
    return found


def survivors() -> set[str]:
    """Return the ids of the mutants that pass: equivalent to the reference, or the task's tests are too few."""
    return set(SURVIVORS.read_text(encoding="utf-8").splitlines())


def explanation(right: Case, changed: Case) -> str:
    """Show the change that no test tells from the reference; whether any input would tell is not decided here."""
    prefix = right.prompt if "test" in right.task else ""
    before = ast.unparse(parse(prefix + right.completion)).splitlines()
    after = ast.unparse(parse(changed.completion.removeprefix(OPENED))).splitlines()
    lines = [line for line in difflib.unified_diff(before, after, n=0, lineterm="") if line[:3] not in ("---", "+++")]
    old, new = (" ".join(line[1:].strip() for line in lines if line[0] == sign) for sign in "-+")
    return f"no test tells `{old}` from `{new}`"


def _mutant_case(case: Case, mutant: Mutant) -> Case:
    """Label a mutant; HumanEval's prompt opens a function, which is ended so that the mutant can define it anew."""
    completion = OPENED + mutant.text if "test" in case.task else mutant.text
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
        yield AuditSpec(name, VERIFIER, cases, REFERENCES, source=upstream, probes=20)
    for name, cases in (
        ("MBPP, challenge tests", mbpp_challenge(data)),
        ("MBPP sanitized, reference code", mbpp_sanitized(data)),
    ):
        yield AuditSpec(name, VERIFIER, cases, REFERENCES, source=upstream)
    passing = survivors()
    for name, cases in right.items():
        originals = {case.id: case for case in cases}
        for kind, changed in mutated(cases).items():
            yield AuditSpec(
                name=f"{name.partition(',')[0]} mutants: {kind}",
                verifier=VERIFIER,
                cases=changed,
                options=MUTANTS,
                explained={
                    case.id: explanation(originals[case.id.removesuffix(f"/{kind}")], case)
                    for case in changed
                    if case.id in passing
                },
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
