"""Tables for people: a plan, and a finished run."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def print_report(console: Console, report: dict[str, Any]) -> None:
    """Print domain by (start, teacher, student, headroom captured), then every model in every domain."""
    table = Table(title=f"{report['recipe']}: {report['status']} in {report['seconds']:.0f} s")
    for name in ("domain", "held-out tasks", "start", "teacher", "student", "headroom captured"):
        table.add_column(name, justify="left" if name == "domain" else "right")
    for name, row in report["domains"].items():
        figures = (_number(row[key]) for key in ("start", "teacher", "student", "headroom_captured"))
        table.add_row(name, str(row["tasks"] or "-"), *figures)
    console.print(table)
    domains = list(report["domains"])
    models = Table(title="every model in every domain (held out)")
    models.add_column("stage")
    models.add_column("status")
    models.add_column("seconds", justify="right")
    for domain in domains:
        models.add_column(domain, justify="right")
    for stage in report["stages"]:
        scores = [_number(stage["scores"].get(domain)) for domain in domains]
        models.add_row(stage["id"], stage["status"], f"{stage['seconds']:.1f}", *scores)
    console.print(models)
