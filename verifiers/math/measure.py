"""The math verifier on labelled data, beside the `math-verify` library on its own (see ``make measure``)."""

from __future__ import annotations

import gzip
import itertools
import json
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from math_verify import parse, verify

from collegium.audit import AuditSpec
from collegium.testing.conformance.cases import Case

MATH = "collegium-verifier-math/math"
RAW = "math-verify"

UNIT_TESTS = {
    "eq/6": "1,22 against 1.22: a decimal comma; here it is a list of two numbers",
    "eq/285": "a sentence in French without a mark, whose last number is not its answer",
    "eq/206": "the reference has a brace that never closes: an Error, never a score",
}
SILVER = {"qwen_cot100/72/line 45": "the published label is wrong: the reference 10{,}000 is the answer 10000"}
ROLLOUTS = {"qwen_cot100/72/7": "the published label is wrong: the reference 10{,}000 is the answer 10000"}
PERTURBED: dict[str, str] = {}
REST: dict[str, str] = {}
REST_PERTURBED: dict[str, str] = {}


def audits(data: Path) -> Iterator[AuditSpec]:
    """Yield the audits, in the order of the README's table."""
    yield AuditSpec(
        "graders' unit tests (math_equiv, review ok)", MATH, list(_unit_tests(data)),
        explained=UNIT_TESTS, source="math_equiv.jsonl, review == ok", baseline=_raw, baseline_name=RAW,
    )  # fmt: skip
    yield AuditSpec(
        "their references against other rows' answers", MATH, list(_crossed(data)),
        source="math_equiv.jsonl: a number against another number", baseline=_raw, baseline_name=RAW,
    )  # fmt: skip
    yield AuditSpec(
        "Qwen2.5-Math predictions (math_equiv_silver)", MATH, list(_silver(data)),
        explained=SILVER, source="math_equiv_silver.jsonl", baseline=_raw, baseline_name=RAW,
    )  # fmt: skip
    yield AuditSpec(
        "Qwen2.5-Math responses (math_rollouts_qwen)", MATH, list(_rollouts(data)),
        explained=ROLLOUTS, source="math_rollouts_qwen.jsonl", baseline=_raw, baseline_name=RAW,
    )  # fmt: skip
    yield AuditSpec(
        "GSM8K solutions of four models", MATH, list(_gsm8k(data)), probes=100,
        source="gsm8k_model_solutions.jsonl.gz", baseline=_raw, baseline_name=RAW,
    )  # fmt: skip
    yield AuditSpec(
        "MATH-500 references against themselves",
        MATH,
        list(_itself(data / "math500.jsonl")),
        probes=100,
        source="math500.jsonl",
    )
    rest = data / "math_test_rest.jsonl.gz"
    yield AuditSpec(
        "1,000 further MATH references against themselves", MATH, list(_itself(rest))[:2000],
        explained=REST, source="math_test_rest.jsonl.gz, never looked at before", baseline=_raw, baseline_name=RAW,
    )  # fmt: skip
    yield AuditSpec(
        "1,000 further MATH references with another value", MATH, list(_perturbed(rest, 1000)),
        explained=REST_PERTURBED, source="math_test_rest.jsonl.gz, rewritten", baseline=_raw, baseline_name=RAW,
    )  # fmt: skip
    yield AuditSpec(
        "MATH-500 references with another value", MATH, list(_perturbed(data / "math500.jsonl")),
        explained=PERTURBED, source="math500.jsonl, rewritten", baseline=_raw, baseline_name=RAW,
    )  # fmt: skip


def rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a JSON Lines file, gzipped or not."""
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in text.splitlines()]


def _case(name: str, completion: str, gold: str, right: bool, prompt: str = "") -> Case:
    return Case(id=name, prompt=prompt, completion=completion, reference=gold, expected=float(right))


def _raw(case: Case) -> bool:
    """Judge with the library alone, bare texts between dollar signs; where it raises, it passes nothing."""
    try:
        gold, answer = (_read(text) for text in (case.reference or "", case.completion))
        return bool(verify(gold, answer, timeout_seconds=None))
    except Exception:
        return False


def _read(text: str) -> list[Any]:
    bare = not re.search(r"\$|\\\(|\\\[|\\boxed|####", text) and len(text) < 200 and "\n" not in text
    found: list[Any] = parse(f"${text}$" if bare else text, parsing_timeout=None)
    return found


def _unit_tests(data: Path) -> Iterator[Case]:
    for row in rows(data / "math_equiv.jsonl"):
        if row["review"] == "ok":
            yield _case(row["id"], row["prediction"], row["gold"], row["expected"])


def _crossed(data: Path) -> Iterator[Case]:
    """Pair each plain number with the answers of the next rows that are plain numbers of another value."""
    found = [
        row for row in rows(data / "math_equiv.jsonl") if row["review"] == "ok" and _number(row["gold"]) is not None
    ]
    for (at, row), step in itertools.product(enumerate(found), (1, 2, 3)):
        other = found[(at + step) % len(found)]
        if _number(other["gold"]) != _number(row["gold"]):
            yield _case(f"{row['id']} x {other['id']}", other["gold"], row["gold"], False)


def _number(text: str) -> Fraction | None:
    """Return the value of a text that is nothing but a decimal or a simple fraction."""
    bare = text.strip(" $").replace("\\dfrac", "\\frac")
    if read := re.fullmatch(r"(-?)\\frac\{(\d{1,9})\}\{(\d{1,9})\}", bare):
        return Fraction(int(read[2]), int(read[3])) * (-1 if read[1] else 1) if int(read[3]) else None
    return Fraction(bare) if re.fullmatch(r"-?\d{1,9}(?:\.\d{1,9})?", bare) else None


def _silver(data: Path) -> Iterator[Case]:
    for number, row in enumerate(rows(data / "math_equiv_silver.jsonl"), 1):
        yield _case(
            f"{row['id']}/line {number}",
            f"\\boxed{{{row['prediction']}}}",
            row["gold"],
            row["expected"],
            row["question"],
        )


def _rollouts(data: Path) -> Iterator[Case]:
    for row in rows(data / "math_rollouts_qwen.jsonl"):
        for number, (text, right) in enumerate(zip(row["responses"], row["scores"], strict=True)):
            yield _case(f"{row['id']}/{number}", text, row["gold"], right, row["question"])


def _gsm8k(data: Path) -> Iterator[Case]:
    for row in rows(data / "gsm8k_model_solutions.jsonl.gz"):
        yield _case(f"{row['model']}/{row['id']}", row["solution"], row["gold"], row["is_correct"], row["question"])


def _itself(file: Path) -> Iterator[Case]:
    for row in rows(file):
        gold = row["answer"]
        yield _case(f"{row['id']}/boxed", f"\\boxed{{{gold}}}", gold, True, row["problem"])
        yield _case(f"{row['id']}/in a sentence", f"So the answer is ${gold}$.", gold, True, row["problem"])


def _perturbed(file: Path, most: int | None = None) -> Iterator[Case]:
    for row in rows(file)[:most]:
        gold = row["answer"]
        for name, other in other_values(gold):
            yield _case(f"{row['id']}/{name}", f"\\boxed{{{other}}}", gold, False, row["problem"])


def other_values(gold: str) -> Iterator[tuple[str, str]]:
    """Yield (what was done, a text whose value differs from the reference's by construction)."""
    for change in (_digits, _numbers, _pairs, _lists, _symbols):
        yield from change(gold)


def _digits(gold: str) -> Iterator[tuple[str, str]]:
    at = [found.start() for found in re.finditer(r"\d", gold)]
    for position, where in ({at[0]: "first", at[-1]: "last"} if at else {}).items():
        yield f"{where} digit", gold[:position] + str((int(gold[position]) + 3) % 10) + gold[position + 1 :]


def _numbers(gold: str) -> Iterator[tuple[str, str]]:
    value = _number(gold)
    if value is not None:
        if value != 0:
            yield "sign", gold[1:] if gold.startswith("-") else f"-{gold}"
        yield "one more", str(value + 1)
        yield "half more", str(value + Fraction(1, 2))
    read = re.fullmatch(r"(-?)\\d?frac\{(\d+)\}\{(\d+)\}", gold)
    if read and read[2] not in (read[3], "0"):
        yield "upside down", f"{read[1]}\\frac{{{read[3]}}}{{{read[2]}}}"


def _pairs(gold: str) -> Iterator[tuple[str, str]]:
    bare = gold.replace("\\left", "").replace("\\right", "").replace(" ", "")
    read = re.fullmatch(r"([(\[])([^,()\[\]]+),([^,()\[\]]+)([)\]])", bare)
    if read is None or read[2] == read[3]:
        return
    yield "swapped", f"{read[1]}{read[3]},{read[2]}{read[4]}"
    if "\\infty" in gold or read[1] + read[4] in ("(]", "[)"):
        opened, closed = {"(": "[", "[": "("}[read[1]], {")": "]", "]": ")"}[read[4]]
        yield "other ends", f"{opened}{read[2]},{read[3]}{closed}"


def _lists(gold: str) -> Iterator[tuple[str, str]]:
    if re.fullmatch(r"-?\d+(, ?-?\d+)+", gold):
        yield "one value dropped", gold.rpartition(",")[0]
        yield "one value added", f"{gold}, 987"


def _symbols(gold: str) -> Iterator[tuple[str, str]]:
    if "\\pi" in gold:
        yield "without pi", gold.replace("\\pi", "").strip() or "1"
    if "\\sqrt{" in gold:
        yield "cube root", gold.replace("\\sqrt{", "\\sqrt[3]{")
    if read := re.fullmatch(r"\\text\{([A-Za-z]{3,})\}", gold):
        yield "another word", f"\\text{{un{read[1]}}}"
    letter = r"(?<![A-Za-z\\])x(?![A-Za-z])"
    if re.search(letter, gold) and "y" not in gold:
        yield "another variable", re.sub(letter, "y", gold)
