"""Check a whole distribution, each component in a process of its own, and say how it went (conformance.json)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from collegium import hookspecs
from collegium.planning.conformance import SCHEMA, code_of, local_report
from collegium.testing.conformance.distribution import Target
from collegium.testing.conformance.outcome import CheckFailed
from collegium.testing.conformance.trace import PACKAGE, run_module_lines

LONGEST_S = 600.0
"""Seconds that all checks of one component may take."""


def check_distribution(
    target: Target, *, cases: Path | None = None, options: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """Run all checks of all components of a distribution.

    Args:
        target: The distribution, made discoverable by `located`.
        cases: Labelled cases. Default: the package's own.
        options: Component's short name to the options to build it with.

    Returns:
        ``{"schema", "distribution", "version", "contract", "code", "passed", "components": [{"kind", "id", "checks":
        [{"check", "status", "reason"}]}]}``; ``code`` is the digest of the code that was checked.
    """
    records = _records(target)
    modules = {module for record in records for module in record.get("modules", target.modules)}
    rows = [row for record in records for row in _component_rows(record, cases or target.cases, options or {})]
    passed = all(result["status"] != "failed" for row in rows for result in row["checks"])
    return {
        "schema": SCHEMA,
        "distribution": target.distribution,
        "version": target.version,
        "contract": hookspecs.API,
        "code": code_of(target.distribution, modules),
        "passed": passed,
        "components": rows,
    }


def _records(target: Target) -> list[dict[str, Any]]:
    try:
        found, _ = run_module_lines(f"{PACKAGE}.worker", {"distribution": target.distribution}, LONGEST_S)
    except CheckFailed as failed:
        found = [{"module": ", ".join(target.modules), "status": "failed", "cause": str(failed), "components": []}]
    return found or [{"module": "", "status": "failed", "cause": "it was not discovered", "components": []}]


def _component_rows(
    record: dict[str, Any], cases: Path | None, options: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    loads = "passed" if record["status"] == "loaded" else "failed"
    plugin = {"check": "loads", "status": loads, "reason": record["cause"]}
    rows: list[dict[str, Any]] = [{"kind": "plugin", "id": record["module"], "checks": [plugin]}]
    for kind, name in record["components"]:
        short = name.rpartition("/")[2]
        checks = _check(kind, name, options.get(short), cases)
        rows.append({"kind": kind, "id": name, "checks": checks})
    return rows


def _check(kind: str, name: str, options: Mapping[str, Any] | None, cases: Path | None) -> list[dict[str, Any]]:
    """Run one component's checks; a check in which the process ends is one that failed."""
    request = {
        "kind": kind,
        "id": name,
        "options": None if options is None else dict(options),
        "cases": str(cases) if cases else None,
    }
    lines, ended = run_module_lines(f"{PACKAGE}.worker", request, LONGEST_S, strict=False)
    results = [line for line in lines if "status" in line]
    if ended:
        running = [line["running"] for line in lines if "running" in line]
        results.append({"check": (running or ["starts"])[-1], "status": "failed", "reason": ended})
    return results


def write_report(report: Mapping[str, Any], path: Path) -> None:
    """Write a report as JSON."""
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def record_report(report: Mapping[str, Any]) -> Path:
    """Keep a report as one made here, for recipes that demand conformance, and return where."""
    path = local_report(report["distribution"])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_report(report, path)
    return path
