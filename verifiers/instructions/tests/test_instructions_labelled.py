"""The instructions verifier against published verdicts: every disagreement is listed with its reason."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from collegium import Completion, Score, Task
from collegium_verifier_instructions.verifier import InstructionsVerifier

KNOWN_DISAGREEMENTS = {
    # The published scorer puts a random letter in the place of a character outside a-z, here '#'.
    ("strict", 1122, "Meta-Llama-3.1-8B-Instruct", "keywords:letter_frequency"),
    ("loose", 1122, "gpt-4-20231107", "keywords:letter_frequency"),
    # Language detection without a fixed seed: of 60 seeds, 42 say English and 18 Dutch.
    ("strict", 279, "Meta-Llama-3.1-8B-Instruct", "change_case:english_lowercase"),
}


@pytest.mark.parametrize("mode", ["strict", "loose"])
def test_published_verdicts_agree_per_instruction(mode: str, real_data: Path) -> None:
    differ, seen = set(), 0
    for row in published(real_data):
        verdict = InstructionsVerifier({"mode": mode}).verify(Completion(row["response"]), Task("t", "?", data=row))
        assert isinstance(verdict, Score), verdict
        for mine, theirs in zip(verdict.details["instructions"], row[mode], strict=True):
            seen += 1
            if mine["followed"] != theirs:
                differ.add((mode, row["key"], row["model"], mine["id"]))
    assert seen == 822
    assert differ == {known for known in KNOWN_DISAGREEMENTS if known[0] == mode}


def published(real_data: Path) -> list[dict[str, Any]]:
    text = gzip.decompress((real_data / "ifeval_responses_labelled.jsonl.gz").read_bytes())
    return [json.loads(line) for line in text.splitlines()]
