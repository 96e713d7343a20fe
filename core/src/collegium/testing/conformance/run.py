"""Run the checks of one component."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from collegium.component import Kind
from collegium.testing.conformance.cases import Cases
from collegium.testing.conformance.check import checks_for
from collegium.testing.conformance.outcome import Result
from collegium.testing.conformance.subject import Subject


def check_component(
    kind: Kind, name: str, *, options: Mapping[str, Any] | None = None, cases: Cases | None = None
) -> list[Result]:
    """Run every check of a component's kind and return the results, in order.

    Args:
        kind: Such as ``"verifier"``.
        name: ``distribution/name``.
        options: The options to build it with; see `Subject`.
        cases: Labelled cases, or their JSON Lines file.
    """
    return list(run_checks(Subject(kind, name, options, cases)))


def run_checks(subject: Subject) -> Iterator[Result]:
    """Yield each check's result as it is known, and close the subject at the end."""
    try:
        for each in checks_for(subject.kind):
            yield each.run(subject)
    finally:
        subject.close()
