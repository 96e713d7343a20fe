"""The registry of constraints: an instruction id and the function that checks a response against it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, TypeVar

Check: TypeAlias = Callable[..., bool]
F = TypeVar("F", bound=Check)

_CHECKS: dict[str, Check] = {}


class Unavailable(RuntimeError):
    """A constraint cannot be checked here, for example because an optional package is missing."""


def constraint(instruction_id: str) -> Callable[[F], F]:
    """Register a check under an id of the form ``group:name``.

    The function takes the response's text and, as keyword arguments, the instruction's ``kwargs``; it returns whether
    the response follows the instruction. It must be deterministic, take time linear in the text, and raise rather than
    guess.

    Example::

        @constraint("acme:ends_with_digit")
        def ends_with_digit(text: str) -> bool:
            return text.rstrip()[-1:].isdigit()

    Raises:
        ValueError: If the id has another form, or belongs to another function.
    """
    group, _, name = instruction_id.partition(":")
    if not group or not name:
        raise ValueError(f"instruction id {instruction_id!r} must have the form 'group:name'")

    def register(check: F) -> F:
        other = _CHECKS.get(instruction_id)
        if other is not None and (other.__module__, other.__qualname__) != (check.__module__, check.__qualname__):
            raise ValueError(f"instruction id {instruction_id!r} is taken by {other.__module__}.{other.__qualname__}")
        _CHECKS[instruction_id] = check
        return check

    return register


def known_ids() -> tuple[str, ...]:
    """Return all registered ids, sorted."""
    return tuple(sorted(_CHECKS))


def bind(instruction_id: str, kwargs: Mapping[str, Any] | None) -> Callable[[str], bool]:
    """Return the check of one instruction with its arguments; nulls among them count as not given.

    Raises:
        LookupError: If no check has this id.
        TypeError: If the arguments are not those that the check takes.
    """
    check = _CHECKS.get(instruction_id)
    if check is None:
        raise LookupError(f"unknown instruction {instruction_id!r}; known are {', '.join(known_ids())}")
    given = {name: value for name, value in (kwargs or {}).items() if value is not None}
    inspect.signature(check).bind("", **given)
    return lambda text: check(text, **given)
