"""The `instructions` verifier: check a response against each of a task's verifiable instructions.

Source: Zhou et al., "Instruction-Following Evaluation for Large Language Models" (arXiv 2311.07911): the 25 instruction
types and the strict and loose criteria (section 2.2). The checks follow the conventions of its published scorer; the
README says where they differ.
"""

from __future__ import annotations

import importlib
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import collegium_verifier_instructions.constraints  # noqa: F401 - registers the 25 types
from collegium import Completion, Config, Error, Score, Task, Verdict, Verifier
from collegium_verifier_instructions.registry import Unavailable, bind

LONGEST_TEXT = 200_000
"""Characters of a completion; a longer one follows no instruction."""


class InstructionsConfig(Config):
    """Options of the `instructions` verifier."""

    mode: Literal["strict", "loose"] = "strict"
    """``loose`` also accepts an instruction that holds without the first line, the last line, or the asterisks."""
    score: Literal["all", "fraction"] = "all"
    """``all`` scores 1 if every instruction is followed, else 0; ``fraction`` scores the share that is."""
    constraint_modules: tuple[str, ...] = ()
    """Modules to import for the constraints that they register."""


class InstructionsVerifier(Verifier):
    """Judge whether a completion follows the instructions in its task's data.

    `task.data` holds ``instruction_id_list`` (``group:name`` each) and ``kwargs`` (one mapping each, same order). An id
    that is repeated is checked each time with its own arguments; `details["instructions"]` has one entry per
    instruction.

    An unknown id, lists of different lengths, arguments that do not fit and a constraint that cannot be checked here
    are an `Error`.
    """

    Config = InstructionsConfig
    form_only = True

    def __init__(self, config: InstructionsConfig | Mapping[str, Any] | None = None) -> None:
        super().__init__(config)
        for module in self.config.constraint_modules:
            importlib.import_module(module)

    def verify(self, completion: Completion, task: Task) -> Verdict:
        """Judge one completion."""
        try:
            checks = _checks(task.data)
        except (LookupError, TypeError, ValueError) as error:
            return Error(f"task {task.id!r}: {error}")
        followed = []
        for instruction_id, check in checks:
            try:
                followed.append(self._follows(completion.text, check))
            except Unavailable as missing:
                return Error(f"{instruction_id}: {missing}")
        return self._score([instruction_id for instruction_id, _ in checks], followed)

    def _follows(self, text: str, check: Callable[[str], bool]) -> bool:
        if len(text) > LONGEST_TEXT:
            return False
        versions = loose_versions(text) if self.config.mode == "loose" else (text,)
        return any(_has_text(version) and bool(check(version)) for version in versions)

    def _score(self, ids: Sequence[str], followed: Sequence[bool]) -> Score:
        value = float(all(followed)) if self.config.score == "all" else sum(followed) / len(followed)
        details = [{"id": each, "followed": holds} for each, holds in zip(ids, followed, strict=True)]
        return Score(value, {"instructions": details})


def _has_text(text: str) -> bool:
    """Say whether anything can be seen: white space, control and zero-width characters cannot."""
    return any(unicodedata.category(character)[0] not in "CZ" for character in text)


def loose_versions(text: str) -> tuple[str, ...]:
    """Return the text's eight versions of the loose criterion, the text itself first."""
    lines = text.split("\n")
    cut = (text, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1])))
    return (*cut, *(version.replace("*", "") for version in cut))


def _checks(data: Mapping[str, Any]) -> list[tuple[str, Callable[[str], bool]]]:
    ids, arguments = data.get("instruction_id_list"), data.get("kwargs")
    if not isinstance(ids, Sequence) or isinstance(ids, str) or not ids:
        raise ValueError("task.data['instruction_id_list'] must be a list with at least one instruction id")
    if not isinstance(arguments, Sequence) or len(arguments) != len(ids):
        found = len(arguments) if isinstance(arguments, Sequence) else type(arguments).__name__
        raise ValueError(f"task.data['kwargs'] must have one entry per instruction: {len(ids)} ids, found {found}")
    return [
        (instruction_id, _bound(instruction_id, given)) for instruction_id, given in zip(ids, arguments, strict=True)
    ]


def _bound(instruction_id: str, given: Mapping[str, Any] | None) -> Callable[[str], bool]:
    try:
        return bind(instruction_id, given)
    except TypeError as error:
        raise TypeError(f"{instruction_id}: {error}") from None
