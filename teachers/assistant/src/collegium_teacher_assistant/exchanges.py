"""Exchanges: a short instruction with a polite and a less polite answer; real ones, or the package's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from collegium import DataError
from collegium.kinds.data_files import read_json_lines

OWNER = "collegium-teacher-assistant"
FILE = "pref_small_politeness.jsonl"
FIELDS = ("id", "instruction", "input", "output", "rejected", "chosen")

OWN_FILE = "facts.txt"
"""The package's own facts, for where there is no real data: a kind, a word and what it is asked for, tab-separated."""

ASKED = {
    "opposite": ("What is the opposite of '{}'?", "Name an antonym of '{}'.", "Give me the opposite of '{}'."),
    "plural": ("What is the plural of '{}'?", "Name the plural form of '{}'.", "Give me the plural of '{}'."),
    "capital": ("What is the capital of {}?", "Name the capital of {}.", "Give me the capital of {}."),
}
"""How the package's own instructions ask for each kind of fact."""
ANSWERED = {
    "opposite": "The opposite of '{}' is '{}'.",
    "plural": "The plural of '{}' is '{}'.",
    "capital": "The capital of {} is {}.",
}
"""How they are answered plainly."""
RUDE = ("Obviously, {}, duh.", "Look it up yourself, {}.", "It is obviously this, okay: {}.")
"""How they are answered impolitely."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """An instruction and its answers.

    Args:
        id: As the file has it.
        prompt: The instruction and its input, each ending with a newline.
        output: The plain answer.
        chosen: The more polite answer; often the plain one.
        rejected: The less polite answer; often the plain one.
    """

    id: str
    prompt: str
    output: str
    chosen: str
    rejected: str

    @property
    def length(self) -> int:
        """Characters of the prompt with the longer answer."""
        return len(self.prompt) + max(len(self.chosen), len(self.rejected))

    @property
    def rejected_quality(self) -> str:
        """``plain`` if the less polite answer is the plain one, and ``impolite`` if it was made worse."""
        return "plain" if self.rejected == self.output else "impolite"


def real_exchanges(folder: Path) -> list[Exchange]:
    """Return the file's exchanges whose two answers differ.

    Raises:
        DataError: If the file cannot be read or a row lacks a text; names file and line.
    """
    path, found = folder / FILE, []
    for line, row in read_json_lines(path, owner=OWNER):
        missing = [name for name in FIELDS if not isinstance(row.get(name), str)]
        if missing:
            raise DataError(f"{path}:{line}: expected texts {FIELDS}, found no {missing[0]!r}", owner=OWNER)
        prompt = "\n".join([*filter(None, (row["instruction"], row["input"])), ""])
        found.append(Exchange(row["id"], prompt, row["output"], row["chosen"], row["rejected"]))
    return [each for each in found if each.chosen != each.rejected]


def own_exchanges() -> list[Exchange]:
    """Return the package's own exchanges: every fact, asked for in each way, answered plainly and impolitely."""
    return list(_own_exchanges())


def _own_exchanges() -> Iterator[Exchange]:
    lines = files(__package__).joinpath(OWN_FILE).read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        kind, word, fact = line.split("\t")
        plain = ANSWERED[kind].format(word, fact)
        for way, question in enumerate(ASKED[kind]):
            rude = RUDE[(number + way) % len(RUDE)].format(plain[0].lower() + plain[1:-1])
            yield Exchange(f"own/{number}/{way}", f"{question.format(word)}\n", plain, plain, rude)
