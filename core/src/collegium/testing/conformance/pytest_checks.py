"""The checks as a pytest parametrisation: one test per check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from collegium.component import Kind
from collegium.testing.conformance.cases import Cases
from collegium.testing.conformance.check import Check, checks_for
from collegium.testing.conformance.subject import Subject


@dataclass(frozen=True, slots=True)
class BoundCheck:
    """A check of one component; call it in a test."""

    check: Check
    subject: Subject
    last: bool

    def __call__(self) -> None:
        """Run the check: a failure is an AssertionError with the reason, what is not applicable is skipped."""
        import pytest

        result = self.check.run(self.subject)
        if self.last:
            self.subject.close()
        if result.status == "not applicable":
            pytest.skip(result.reason)
        if result.status == "failed":
            raise AssertionError(f"{self.subject.name}: {result.check}: {result.reason}")


def parametrised_checks(
    kind: Kind, name: str, *, options: Mapping[str, Any] | None = None, cases: Cases | None = None
) -> Any:
    """Return a decorator that runs a test once per check, with the check as its argument `check`.

    Example::

        @parametrised_checks("verifier", "acme-units/units", cases="src/acme_units/cases.jsonl")
        def test_conformance(check):
            check()

    Args:
        kind: Kind of the component.
        name: ``distribution/name``; looked up when the first check runs.
        options: The options to build it with.
        cases: Labelled cases, or their JSON Lines file.
    """
    import pytest

    subject = Subject(kind, name, options, cases)
    found = checks_for(kind)
    bound = [BoundCheck(each, subject, each is found[-1]) for each in found]
    return pytest.mark.parametrize("check", [pytest.param(each, id=each.check.name) for each in bound])
