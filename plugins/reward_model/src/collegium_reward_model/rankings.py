"""Rankings from JSON Lines: the completions of a prompt, best first.

A row is ``{"prompt", "completions": [best, ..., worst]}`` or ``{"prompt", "chosen", "rejected"}``, and may have a
`margin`: a number, or a rating in words. The prompt is a text or a list of chat messages.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collegium import DataError
from collegium.kinds.data_files import read_json_lines
from collegium.task import Message
from collegium_reward_model.configs import MARGINS, OWNER

PAIRS_FILE = "pairs.jsonl"
"""Name of the file of pairs in a data artifact's folder."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """One prompt's completions.

    Args:
        prompt: Text, or chat messages.
        completions: Best first, at least two.
        margin: By how much its pairs should differ; None where the row says nothing.
        name: File and line, for errors.
    """

    prompt: str | tuple[Message, ...]
    completions: tuple[str, ...]
    margin: float | None
    name: str

    @property
    def prompt_text(self) -> str:
        """The prompt as one text: what tells prompts apart."""
        return self.prompt if isinstance(self.prompt, str) else "\n\n".join(turn["content"] for turn in self.prompt)

    @property
    def prefers(self) -> bool:
        """Whether its completions are all different: of two equal ones neither is better."""
        return len(set(self.completions)) == len(self.completions)


def read_rankings(path: Path, *, prompt_fields: Sequence[str] = ("prompt",), margins: str = "large") -> list[Ranking]:
    """Read a file of rankings, or the pairs of a data artifact's folder.

    Raises:
        DataError: If it is missing, empty or truncated, or a row is malformed; names file and line.
    """
    file = path / PAIRS_FILE if path.is_dir() else path
    return [_ranking(_Row(file, line, row), prompt_fields, margins) for line, row in read_json_lines(file, owner=OWNER)]


def split_by_prompt(rankings: Sequence[Ranking], share: float, seed: int) -> tuple[list[Ranking], list[Ranking]]:
    """Return the rankings to train on and those held out; no prompt is in both.

    Raises:
        DataError: If there are fewer than two prompts.
    """
    prompts = sorted({each.prompt_text for each in rankings})
    if len(prompts) < 2:
        raise DataError(
            f"found {len(prompts)} prompts with preferences, expected at least two: one is held out",
            fix="give data: [FILE] or data_from: STAGE with preferences over several prompts",
            owner=OWNER,
        )
    random.Random(seed).shuffle(prompts)
    count = min(len(prompts) - 1, max(1, round(share * len(prompts))))
    aside = set(prompts[:count])
    train = [each for each in rankings if each.prompt_text not in aside]
    return train, [each for each in rankings if each.prompt_text in aside]


@dataclass(frozen=True, slots=True)
class _Row:
    """A row and where it stands."""

    file: Path
    line: int
    fields: Mapping[str, Any]

    def wrong(self, what: str, fix: str = "mend or remove the line") -> DataError:
        return DataError(f"{self.file}:{self.line}: {what}", fix=fix, owner=OWNER)


def _ranking(row: _Row, prompt_fields: Sequence[str], margins: str) -> Ranking:
    completions = tuple(_completions(row))
    return Ranking(_prompt(row, prompt_fields), completions, _margin(row, margins), f"{row.file.name}:{row.line}")


def _completions(row: _Row) -> Iterator[str]:
    given = row.fields.get("completions")
    if given is None:
        given = [row.fields.get("chosen"), row.fields.get("rejected")]
    if not isinstance(given, list) or len(given) < 2 or not all(isinstance(each, str) for each in given):
        raise row.wrong(
            f'expected "chosen" and "rejected" or "completions" (two or more texts, best first), found '
            f"{', '.join(sorted(row.fields))}"
        )
    yield from given


def _prompt(row: _Row, names: Sequence[str]) -> str | tuple[Message, ...]:
    if list(names) == ["prompt"] and "prompt" not in row.fields and "instruction" in row.fields:
        names = [name for name in ("instruction", "input") if name in row.fields]
        return "".join(f"{text}\n" for text in _texts(row, names) if text)
    missing = [name for name in names if name not in row.fields]
    if missing:
        raise row.wrong(
            f"no field {missing[0]!r} for the prompt; there are {', '.join(sorted(row.fields))}",
            "name the prompt's fields in prompt_fields",
        )
    values = [row.fields[name] for name in names]
    if all(isinstance(value, str) for value in values):
        return values[0] if len(values) == 1 else "\n".join([*filter(None, values), ""])
    if len(values) == 1 and _is_chat(values[0]):
        return tuple(Message(role=turn["role"], content=turn["content"]) for turn in values[0])
    raise row.wrong("the prompt must be text or one list of chat messages")


def _texts(row: _Row, names: Sequence[str]) -> list[str]:
    values = [row.fields[name] for name in names]
    if not all(isinstance(value, str) for value in values) or not values[0]:
        raise row.wrong("instruction and input must be texts, and the instruction not empty")
    return values


def _is_chat(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(turn, dict) for turn in value)
        and all(isinstance(turn.get(key), str) for turn in value for key in ("role", "content"))
    )


def _margin(row: _Row, scale: str) -> float | None:
    given = row.fields.get("margin")
    if given is None:
        return None
    if isinstance(given, str) and given in MARGINS[scale]:
        return MARGINS[scale][given]
    if isinstance(given, int | float) and not isinstance(given, bool) and 0 <= given < float("inf"):
        return float(given)
    raise row.wrong(f"margin {given!r} is neither a number from 0 on nor one of {', '.join(MARGINS[scale])}")
