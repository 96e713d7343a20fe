"""Perturbations: a right completion, rewritten (see `collegium audit`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from collegium.task import Completion, Task


@dataclass(frozen=True, slots=True)
class Perturbation:
    """A right completion, rewritten.

    Args:
        name: What was done to it.
        text: The whole rewritten completion.
        changes_value: Whether the answer is another one now, so that it must no longer pass; if not, it must.
    """

    name: str
    text: str
    changes_value: bool


def white_space(completion: Completion, _task: Task) -> Iterator[Perturbation]:
    """Yield the completion with other white space around it and other line ends.

    Sound for a verifier that reads an answer out of prose or runs code; not where layout is judged.
    """
    text = completion.text
    yield Perturbation("space around", f" {text} ", changes_value=False)
    yield Perturbation("newline after", f"{text}\n", changes_value=False)
    yield Perturbation("newlines before", f"\n\n{text}", changes_value=False)
    if "\n" in text and "\r" not in text:
        yield Perturbation("CRLF", text.replace("\n", "\r\n"), changes_value=False)
