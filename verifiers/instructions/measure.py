"""The instructions verifier against the official scorer's published verdicts (see ``make measure``)."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from collegium.audit import AuditSpec
from collegium.testing.conformance.cases import Case

FILE = "ifeval_responses_labelled.jsonl.gz"
LETTER = "the published scorer takes letters a-z only and puts a random one in the place of '#'"
SEED = "language detection without a seed: of 60 seeds 42 say English, 18 Dutch; here the seed is fixed"
EXPLAINED = {
    "strict": {
        "1122/Meta-Llama-3.1-8B-Instruct/1/keywords:letter_frequency": LETTER,
        "279/Meta-Llama-3.1-8B-Instruct/0/change_case:english_lowercase": SEED,
    },
    "loose": {"1122/gpt-4-20231107/1/keywords:letter_frequency": LETTER},
}


def audits(data: Path) -> Iterator[AuditSpec]:
    """Yield one audit per mode, a case per response and instruction."""
    modes: tuple[Literal["strict", "loose"], ...] = ("strict", "loose")
    for mode in modes:
        yield AuditSpec(
            f"IFEval responses, per instruction, {mode} verdicts",
            "collegium-verifier-instructions/instructions",
            list(_cases(data, mode)),
            options={"mode": mode},
            explained=EXPLAINED[mode],
            source=FILE,
            probes=50,
        )


def _cases(data: Path, mode: str) -> Iterator[Case]:
    for line in gzip.decompress((data / FILE).read_bytes()).splitlines():
        row = json.loads(line)
        rows = zip(row["instruction_id_list"], row["kwargs"], row[mode], strict=True)
        for position, (name, kwargs, followed) in enumerate(rows):
            yield Case(
                id=f"{row['key']}/{row['model']}/{position}/{name}",
                prompt=row["prompt"],
                completion=row["response"],
                expected=float(followed),
                task={"instruction_id_list": [name], "kwargs": [kwargs]},
            )
