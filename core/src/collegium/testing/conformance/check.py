"""The list of checks: each a function of a subject, with a name, the kinds it is for and one sentence."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from collegium.component import KINDS, Kind
from collegium.testing.conformance.outcome import CheckFailed, NotApplicable, Result
from collegium.testing.conformance.subject import CannotBuild, Subject

_MODULES = (
    "general",
    "card",
    "content",
    "process",
    "verifier",
    "traps",
    "reward",
    "router",
    "sampler",
    "weighter",
    "task",
    "loss",
    "environment",
)
_CHECKS: list[Check] = []


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Args:
        name: The function's name, with dashes.
        kinds: Kinds of component that it is for.
        summary: The first line of its docstring.
        function: Raises `CheckFailed` or `NotApplicable`; any other exception is a failure, too.
    """

    name: str
    kinds: tuple[Kind, ...]
    summary: str
    function: Callable[[Subject], None]

    def run(self, subject: Subject) -> Result:
        """Check a component."""
        try:
            self.function(subject)
        except NotApplicable as missing:
            return Result(self.name, "not applicable", str(missing))
        except CannotBuild as failed:
            if self.name != "buildable":
                return Result(self.name, "not applicable", "it cannot be built, see buildable")
            return Result(self.name, "failed", str(failed))
        except CheckFailed as failed:
            return Result(self.name, "failed", str(failed))
        except Exception as error:
            return Result(self.name, "failed", f"raised {type(error).__name__}: {error}")
        return Result(self.name, "passed")


def check(*kinds: Kind) -> Callable[[Callable[[Subject], None]], Callable[[Subject], None]]:
    """Register a function as a check of these kinds of component; of every kind if none is given."""

    def register(function: Callable[[Subject], None]) -> Callable[[Subject], None]:
        summary = (function.__doc__ or "").strip().partition("\n")[0]
        _CHECKS.append(Check(function.__name__.replace("_", "-"), kinds or KINDS, summary, function))
        return function

    return register


def checks_for(kind: Kind) -> list[Check]:
    """Return the checks of a kind of component, the general ones first."""
    for module in _MODULES:
        importlib.import_module(f"collegium.testing.conformance.checks.{module}")
    return [each for each in _CHECKS if kind in each.kinds]
