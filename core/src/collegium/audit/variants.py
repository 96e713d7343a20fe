"""Rewritings of a right answer: those that must not matter, and those that must."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from collegium.kinds.perturbation import Perturbation
from collegium.kinds.verifier import Verifier
from collegium.task import Completion, Task
from collegium.time_limit import CallFailed, call_within

MOST = 20
"""Rewritings of one answer that are taken."""
NUMBER = re.compile(r"[-+]?\d{1,15}(?:\.\d{1,15})?")


def changed_numbers(completion: Completion, task: Task) -> Iterator[Perturbation]:
    """Yield the completion with its answer changed, where the reference is its last number and stands there once."""
    reference = (task.reference or "").strip()
    if not NUMBER.fullmatch(reference):
        return
    standing = [found.span() for found in NUMBER.finditer(completion.text) if found.group() == reference]
    numbers = [found.span() for found in NUMBER.finditer(completion.text)]
    if len(standing) != 1 or standing[0] != numbers[-1]:
        return  # another number may be the answer, or the answer may stand there in another form, too
    (start, end) = standing[0]
    for name, other in (("one more", _plus_one(reference)), ("a digit more", f"{reference}7")):
        yield Perturbation(
            f"value: {name}", completion.text[:start] + other + completion.text[end:], changes_value=True
        )


def variants_of(verifier: Verifier, completion: Completion, task: Task) -> list[Perturbation]:
    """Return what the verifier itself promises, and the changes of value that hold for any verifier.

    Raises:
        CallFailed, TimeLimitExceeded: If the verifier's own `perturbations` raises, gives anything else, or hangs.
    """
    own = call_within(
        verifier.timeout_s, lambda: list(itertools.islice(verifier.perturbations(completion, task), MOST))
    )
    if wrong := [each for each in own if not isinstance(each, Perturbation)]:
        raise CallFailed(TypeError(f"perturbations() gave a {type(wrong[0]).__name__}"))
    own += [] if any(each.changes_value for each in own) else changed_numbers(completion, task)
    return [each for each in own if each.text != completion.text]


def _plus_one(number: str) -> str:
    whole, point, fraction = number.partition(".")
    return f"{int(whole) + 1}{point}{fraction}"
