"""The verifiers of form on real texts, right ones and ones that are broken on purpose (see ``make measure``)."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from collegium.audit import AuditSpec
from collegium.testing.conformance.cases import Case

OWNER = "collegium-verifier-format"
RUSSIAN = "Это предложение написано по-русски, и оно стоит в середине ответа. "
CHINESE = "我们可以知道这个答案是正确的，因为计算没有错误。"
CORPORA = ("corpus_stories.jsonl.gz", "corpus_speeches.jsonl.gz")


def audits(data: Path) -> Iterator[AuditSpec]:
    """Yield the audits, in the order of the README's table."""
    yield AuditSpec(
        "Qwen2.5-Math responses in think and answer tags, whole and broken", f"{OWNER}/format", list(_tags(data)),
        options={"tags": ["think", "answer"]}, source="math_rollouts_qwen.jsonl",
    )  # fmt: skip
    yield AuditSpec(
        "English stories and speeches, plain and with a Russian or Chinese sentence", f"{OWNER}/language",
        list(_language(data)), options={"scripts": ["Latin"], "min_share": 0.99}, source=", ".join(CORPORA),
    )  # fmt: skip
    yield AuditSpec(
        "Qwen2.5-Math responses, whole and looping", f"{OWNER}/repetition", list(_repetition(data)),
        source="math_rollouts_qwen.jsonl",
    )  # fmt: skip
    yield AuditSpec(
        "BFCL function descriptions as JSON, whole and broken", f"{OWNER}/format", list(_json(data)),
        options={"is_json": True}, source="tool_bfcl.jsonl",
    )  # fmt: skip


def rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a JSON Lines file, gzipped or not."""
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in text.splitlines()]


def _cases(name: str, versions: dict[str, tuple[str, bool]]) -> Iterator[Case]:
    for what, (text, right) in versions.items():
        yield Case(id=f"{name}/{what}", completion=text, expected=float(right))


def _responses(data: Path) -> Iterator[tuple[str, str, str]]:
    for row in rows(data / "math_rollouts_qwen.jsonl"):
        for number, text in enumerate(row["responses"]):
            yield f"{row['id']}/{number}", text, row["gold"]


def _tags(data: Path) -> Iterator[Case]:
    for name, text, gold in _responses(data):
        think, answer = f"<think>{text}</think>", f"<answer>{gold}</answer>"
        yield from _cases(
            name,
            {
                "whole": (f"{think}\n{answer}", True),
                "swapped": (f"{answer}{think}", False),
                "not closed": (f"{think}<answer>{gold}", False),
                "text after": (f"{think}{answer} I hope it helps.", False),
                "twice": (f"{think}{think}{answer}", False),
                "answer inside": (f"<think>{text}{answer}</think>", False),
                "blank": (f"<think> </think>{answer}", False),
            },
        )


def _language(data: Path) -> Iterator[Case]:
    for row in (row for file in CORPORA for row in rows(data / file)[:400]):
        middle = len(row["text"]) // 2
        before, after = row["text"][:middle], row["text"][middle:]
        versions = {"plain": (row["text"], True)}
        versions |= {
            language: (before + sentence * (2 + len(row["text"]) // 1000) + after, False)
            for language, sentence in (("Russian", RUSSIAN), ("Chinese", CHINESE))
        }
        yield from _cases(row["id"], versions)


def _repetition(data: Path) -> Iterator[Case]:
    for name, text, _ in _responses(data):
        sentence = text[: len(text) // 2].rpartition(". ")[2][-120:] or "So "
        yield from _cases(
            name,
            {
                "whole": (text, True),
                "loops in its last words": (
                    text[: len(text) // 2] + sentence * max(8, 1 + 120 // len(sentence)),
                    False,
                ),
                "one token for ever": (text[: len(text) // 2] + "0" * 300, False),
                "said again": (f"{text} {text} {text}", False),
            },
        )


def _json(data: Path) -> Iterator[Case]:
    for row in rows(data / "tool_bfcl.jsonl"):
        text = json.dumps(row["functions"])
        yield from _cases(
            row["id"],
            {
                "whole": (text, True),
                "cut": (text[:-1], False),
                "in a fence": (f"```json\n{text}\n```", False),
                "single quotes": (text.replace('"', "'"), False),
                "comma at the end": (f"{text[:-1]},]", False),
            },
        )
