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
REPEATING = {
    "gsm8k/test/5/175b_finetuning/whole": "cut off in the list of glasses it goes on with; 49% of 6-grams stood before",
    "gsm8k/test/66/6b_verification/whole": "no loop: a sum restated line by line; 42% of 6-grams stood before",
    "gsm8k/test/150/175b_finetuning/whole": "ends in 1818... until cut off",
    "gsm8k/test/150/6b_finetuning/whole": "ends in 1818... until cut off",
    "gsm8k/test/162/175b_finetuning/whole": "cut off in a price rise it repeats; 40% of 6-grams stood before",
    "gsm8k/test/183/175b_finetuning/whole": "no loop: a sum per runner; just over 30% of 6-grams stood before",
    "gsm8k/test/633/6b_finetuning/whole": "ends in 2727... until cut off",
    "gsm8k/test/810/6b_finetuning/whole": "no loop: one sentence per month; 53% of 6-grams stood before",
}
"""Flagged GSM8K solutions, read one by one."""
TWICE = {
    f"qwen_cot100/{name}/a sentence twice": "just over the 30% of n-grams that may have stood before"
    for name in ("12/1", "12/5", "16/3", "46/6", "72/7")
}
"""Responses near the threshold already, with a sentence said twice more."""
CORPORA = ("corpus_stories.jsonl.gz", "corpus_speeches.jsonl.gz")
PROSE = (*CORPORA, "corpus_shakespeare.jsonl.gz")


def audits(data: Path) -> Iterator[AuditSpec]:
    """Yield the audits, in the order of the README's table."""
    yield AuditSpec(
        "Qwen2.5-Math responses in think and answer tags, whole and broken", f"{OWNER}/format", list(_tags(data)),
        options={"tags": ["think", "answer"]}, source="math_rollouts_qwen.jsonl",
    )  # fmt: skip
    yield AuditSpec(
        "English stories and speeches, plain and with a tenth of Russian or Chinese letters", f"{OWNER}/language",
        [case for row in _texts(data) for case in _language(row, tenth=True)], options={"scripts": ["Latin"]},
        source=", ".join(CORPORA),
    )  # fmt: skip
    single = [case for row in _texts(data) for case in _language(row, tenth=False)]
    yield AuditSpec(
        "the same texts, with one Russian or Chinese sentence", f"{OWNER}/language", single,
        options={"scripts": ["Latin"], "min_share": 0.99}, explained=_diluted(single), source=", ".join(CORPORA),
    )  # fmt: skip
    yield AuditSpec(
        "Qwen2.5-Math responses, whole and looping", f"{OWNER}/repetition", list(_repetition(data)),
        explained=TWICE, source="math_rollouts_qwen.jsonl",
    )  # fmt: skip
    yield AuditSpec(
        "stories, speeches and Shakespeare, whole, under 200,000 characters", f"{OWNER}/repetition", list(_whole(data)),
        source=", ".join(PROSE),
    )  # fmt: skip
    yield AuditSpec(
        "GSM8K model solutions of 1,000 characters at most", f"{OWNER}/repetition", list(_solutions(data)),
        explained=REPEATING, source="gsm8k_model_solutions.jsonl.gz",
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


def _texts(data: Path) -> Iterator[dict[str, Any]]:
    yield from (row for file in CORPORA for row in rows(data / file)[:400])


def _letters(text: str) -> int:
    return sum(map(str.isalpha, text))


def _language(row: dict[str, Any], tenth: bool) -> Iterator[Case]:
    """Yield a text as it is, and with one foreign sentence or so many that a tenth of all letters is foreign."""
    text = row["text"]
    middle = len(text) // 2
    versions = {"plain": (text, True)}
    for language, sentence in (("Russian", RUSSIAN), ("Chinese", CHINESE)):
        times = 1 + _letters(text) // (9 * _letters(sentence)) if tenth else 1
        versions[language] = (text[:middle] + sentence * times + text[middle:], False)
    yield from _cases(row["id"], versions)


def _diluted(cases: list[Case]) -> dict[str, str]:
    """Return the texts in which one sentence is no hundredth of the letters, counted here, with that share."""
    found = {}
    for case in cases:
        sentence = RUSSIAN if case.id.endswith("Russian") else CHINESE
        share = _letters(sentence) / _letters(case.completion)
        if not case.expected and share <= 0.01:
            found[case.id] = f"the sentence has {share:.2%} of the letters, within the 1% that min_share allows"
    return found


def _repetition(data: Path) -> Iterator[Case]:
    for name, text, _ in _responses(data):
        middle = len(text) // 2
        start, rest = text[:middle], text[middle:]
        sentence = start.rpartition(". ")[2][-120:] or "So "
        steps = " ".join(f"Wait, let me check step {step} again." for step in range(60))
        yield from _cases(
            name,
            {
                "whole": (text, True),
                "a rule at its end": (f"{text}\n{'-' * 70}", True),
                "a sentence twice": (f"{start} {sentence} {sentence} {rest}", True),
                "loops in its last words": (start + sentence * max(8, 1 + 120 // len(sentence)), False),
                "one token for ever": (start + "0" * 300, False),
                "said again": (f"{text} {text} {text}", False),
                "loops inside": (start + " no " * 300 + rest, False),
                "loops inside, counting": (f"{start} {steps} {rest}", False),
                "Chinese loop": (CHINESE * 30 + "\u5b8c\u6bd5", False),
            },
        )


def _whole(data: Path) -> Iterator[Case]:
    for row in (row for file in PROSE for row in rows(data / file) if len(row["text"]) <= 200_000):
        yield Case(id=row["id"], completion=row["text"], expected=1.0)


def _solutions(data: Path) -> Iterator[Case]:
    for row in rows(data / "gsm8k_model_solutions.jsonl.gz"):
        if len(row["solution"]) <= 1000:
            yield from _cases(row["id"], {"whole": (row["solution"], True)})


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
