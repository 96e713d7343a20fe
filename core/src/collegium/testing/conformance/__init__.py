"""The conformance kit: checks that every component of a kind must pass, for authors of plugins.

In a test: `parametrised_checks`. From the command line: ``collegium check``. From Python: `check_component`.
"""

from collegium.testing.conformance.cases import Case, read_cases
from collegium.testing.conformance.check import Check, checks_for
from collegium.testing.conformance.outcome import CheckFailed, NotApplicable, Result
from collegium.testing.conformance.pytest_checks import parametrised_checks
from collegium.testing.conformance.run import check_component, run_checks
from collegium.testing.conformance.subject import Subject

__all__ = [
    "Case",
    "Check",
    "CheckFailed",
    "NotApplicable",
    "Result",
    "Subject",
    "check_component",
    "checks_for",
    "parametrised_checks",
    "read_cases",
    "run_checks",
]
