"""Why a server gave no log-probs; the teacher turns what remains into a `TeacherError`."""

from __future__ import annotations

from collections.abc import Callable

from collegium import TeacherError

OWNER = "collegium-teacher-served"
MOST_SAID = 300
"""Characters that are shown of what a server said."""


class Failure(Exception):
    """A try failed, and another one would not help.

    Args:
        reason: What went wrong, in our words.
        said: What the server said; shown cut, so it has to be masked before.
        fix: What the reader should do.
    """

    def __init__(self, reason: str, *, said: str = "", fix: str = "") -> None:
        super().__init__(reason)
        self.said = said
        self.fix = fix

    def __str__(self) -> str:
        said = " ".join(self.said.split())[:MOST_SAID]
        return f"{self.args[0]}: {said}" if said else str(self.args[0])


class Repeatable(Failure):
    """This try failed, another one may succeed.

    Args:
        reason: What went wrong.
        said: What the server said.
        wait_s: Seconds that the server asks to wait (``Retry-After``).
        busy: The server is well and asks for patience (429): it does not count for the circuit breaker.
    """

    def __init__(self, reason: str, *, said: str = "", wait_s: float = 0.0, busy: bool = False) -> None:
        super().__init__(reason, said=said)
        self.wait_s = wait_s
        self.busy = busy


def teacher_error(url: str, model: str, failure: Failure, mask: Callable[[str], str]) -> TeacherError:
    """Return the error that the run shows; what the server said is masked first, for a cut key would not be found."""
    failure.said = mask(failure.said)
    return TeacherError(f"served teacher {model!r} at {url}: {failure}", fix=failure.fix, owner=OWNER)
