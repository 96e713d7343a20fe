"""Conformance reports: which one speaks of the code that is installed, and whether it passed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from collegium import hookspecs
from collegium.cards.read import CONFORMANCE, package_file
from collegium.component import Kind
from collegium.planning.fingerprint import distribution_digest
from collegium.plugins.discovery import PluginRecord

SCHEMA = 1
"""Of a report."""
GOOD = ("passed", "not applicable")
LOCAL_REPORTS = Path(".collegium/conformance")
"""Where `collegium check` records the reports made here, relative to the working directory."""


@dataclass(frozen=True, slots=True)
class Conformance:
    """What is known of a distribution's conformance.

    Args:
        state: ``passed`` or ``failed`` by a report on the installed code; ``stale`` if the report is on other code;
            ``missing`` if there is none.
        reason: Why it is not ``passed``; empty if it is.
        report: The report that decides, if there is one.
        local: Whether that report was made here.
    """

    state: Literal["passed", "failed", "stale", "missing"]
    reason: str = ""
    report: str = ""
    local: bool = False


def code_of(distribution: str, modules: Iterable[str]) -> str:
    """Return the digest of the code of a distribution, given the modules of its entry points and components."""
    return distribution_digest(distribution, tuple(sorted(set(modules))))


def local_report(distribution: str) -> Path:
    """Return where the report that is made here is recorded."""
    return LOCAL_REPORTS / f"{distribution}.json"


def conformance_of(records: Sequence[PluginRecord], *, local_only: bool = False) -> Conformance:
    """Return the conformance of a distribution: a report made here is preferred to the one in the package.

    Args:
        records: The distribution's entry points; at least one.
        local_only: Take only a report that was made here.
    """
    places = [(local_report(records[0].distribution), True)]
    shipped = package_file(records[0].module, CONFORMANCE)
    if shipped is not None and not local_only:
        places.append((shipped, False))
    found = [_judged(records, path, local) for path, local in places if path.is_file()]
    current = [each for each in found if each.state != "stale"]
    return next(iter([*current, *found]), Conformance("missing", "there is no report"))


def _judged(records: Sequence[PluginRecord], path: Path, local: bool) -> Conformance:
    """Say what one report means for the code that is installed."""
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        stale = next(_differences(report, records), "")
        failed = [] if stale else list(_failures(report, records))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        return Conformance("stale", f"{path} cannot be read: {type(error).__name__}: {error}", str(path), local)
    if stale:
        return Conformance("stale", f"{path} is on {stale}", str(path), local)
    if failed:
        return Conformance("failed", f"{path}: {'; '.join(failed[:3])}", str(path), local)
    return Conformance("passed", "", str(path), local)


def _differences(report: dict[str, Any], records: Sequence[PluginRecord]) -> Iterator[str]:
    """Yield how what a report is on differs from what is installed."""
    first = records[0]
    if report["schema"] != SCHEMA:
        yield f"schema {report['schema']!r}, expected {SCHEMA}"
    if report["distribution"] != first.distribution:
        yield f"another distribution, {report['distribution']}"
    if report["version"] != first.version:
        yield f"version {report['version']}, {first.version} is installed"
    if report["contract"] != hookspecs.API:
        yield f"contract {report['contract']}, this core speaks {hookspecs.API}"
    if report.get("code") != code_of(first.distribution, (module for record in records for module in record.modules)):
        yield "other code than what is installed"


def _failures(report: dict[str, Any], records: Sequence[PluginRecord]) -> Iterator[str]:
    """Yield why a report does not pass the components that are registered now."""
    rows = {(row["kind"], row["id"]): row["checks"] for row in report["components"]}
    for (kind, name), checks in rows.items():
        for check in checks:
            if check["status"] not in GOOD:
                yield f"{kind} {name}: {check['check']} {check['status']}"
    for record in records:
        for kind, component in record.components:
            yield from _uncovered(kind, component.name, rows.get((kind, f"{record.distribution}/{component.name}"), []))
    if report["passed"] is not True:
        yield "it did not pass"


def _uncovered(kind: Kind, name: str, checks: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield which of the kit's checks a report does not have of a component that is registered now."""
    from collegium.testing.conformance.check import checks_for

    made = {check["check"] for check in checks}
    missing = [check.name for check in checks_for(kind) if check.name not in made]
    if missing or not any(check["status"] == "passed" for check in checks):
        yield f"it does not cover the {kind} {name}: {', '.join(missing[:3]) or 'nothing passed'}"
