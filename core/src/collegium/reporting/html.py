"""report.html: one self-contained page, no script and no network."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#1c2024}
h1{font-size:1.5rem;margin-bottom:0}h2{font-size:1.1rem;margin-top:2rem}p.sub{color:#60646c;margin-top:.2rem}
table{border-collapse:collapse;width:100%}th,td{padding:.35rem .6rem;text-align:right;border-bottom:1px solid #e0e1e6}
th{color:#60646c;font-weight:600}th:first-child,td:first-child{text-align:left}
.ok{color:#18794e}.bad{color:#cd2b31}.bar{background:#e6f6eb;display:block;height:.4rem;margin-top:.2rem}
svg{background:#f8f9fa}figure{display:inline-block;margin:.3rem 1rem .3rem 0}figcaption{font-size:.8rem;color:#60646c}
"""
CHARTED = ("loss", "reward", "kl", "accuracy", "entropy", "length")
"""Metrics with these words in their names are drawn."""


def render_html(report: dict[str, Any], metrics: dict[str, list[dict[str, Any]]]) -> str:
    """Return the page for a report and the stages' step metrics."""
    problem = f'<p class="bad">{escape(report["problem"])}</p>' if report.get("problem") else ""
    body = [
        f"<h1>{escape(report['recipe'])}</h1>",
        f'<p class="sub">{escape(report["status"])}, {report["seconds"]:.0f} s, {report["rollouts"]:,} rollouts, '
        f"{report['tokens_generated']:,} tokens generated, profile {escape(report['profile'])}, "
        f"seed {report['seed']}</p>",
        problem,
        "<h2>Domains</h2>",
        _domains(report),
        "<h2>Every model in every domain</h2>",
        _matrix(report),
        "<h2>Stages</h2>",
        _stages(report),
        _audits(report),
        *[_charts(stage_id, rows) for stage_id, rows in metrics.items() if rows],
        "<h2>Packages</h2>",
        _table(
            ["package", "version", "contract"],
            [[escape(p["distribution"]), escape(p["version"]), str(p["api"])] for p in report["plugins"]],
        ),
    ]
    title = escape(report["recipe"])
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style>{''.join(body)}</html>\n"
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; the cells are HTML already."""
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    lines = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{cells}</tr>{lines}</table>"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _audits(report: dict[str, Any]) -> str:
    """Return a table of the audited verifiers, or nothing."""
    names = ("cases", "agreement", "false_positive_rate", "false_negative_rate", "exploits_passed")
    rows = [
        [escape(stage["id"]), *(_number(stage["metrics"].get(f"audit/{name}")) for name in names)]
        for stage in report["stages"]
        if "audit/cases" in stage["metrics"]
    ]
    head = ["stage", "cases", "agreement", "false positives", "false negatives", "exploits that passed"]
    return "<h2>Audits of verifiers</h2>" + _table(head, rows) if rows else ""


def _domains(report: dict[str, Any]) -> str:
    rows = []
    for name, domain in report["domains"].items():
        captured = domain["headroom_captured"]
        width = 0 if captured is None else round(100 * min(max(captured, 0.0), 1.0))
        bar = f'{_number(captured)}<span class="bar" style="width:{width}%"></span>'
        rows.append([escape(name), *(_number(domain[key]) for key in ("start", "teacher", "student")), bar])
    return _table(["domain", "start", "teacher", "student", "headroom captured"], rows)


def _matrix(report: dict[str, Any]) -> str:
    names = list(report["domains"])
    rows = [
        [escape(stage["id"]), *(_number(stage["scores"].get(name)) for name in names)]
        for stage in report["stages"]
        if stage["scores"]
    ]
    return _table(["model", *names], rows)


def _stages(report: dict[str, Any]) -> str:
    rows = []
    for stage in report["stages"]:
        mark = "ok" if stage["status"] in ("completed", "cached") else "bad"
        rows.append(
            [
                escape(stage["id"]),
                escape(stage["use"]),
                f'<span class="{mark}">{escape(stage["status"])}</span>',
                f"{stage['seconds']:.1f}",
                escape(", ".join(stage["inputs"]) or "–"),
                f"{stage['rollouts']:,}",
            ]
        )
    return _table(["stage", "component", "status", "seconds", "inputs", "rollouts"], rows)


def _charts(stage_id: str, rows: list[dict[str, Any]]) -> str:
    names = [
        name
        for name in dict.fromkeys(key for row in rows for key in row)
        if any(word in name for word in CHARTED) and isinstance(rows[-1].get(name), (int, float))
    ]
    figures = "".join(_chart(name, [(row["step"], row[name]) for row in rows if name in row]) for name in names[:8])
    return f"<h3>{escape(stage_id)}</h3>{figures}" if figures else ""


def _chart(name: str, points: list[tuple[float, float]]) -> str:
    """Return a small line chart; the caption gives the first and last value."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    width, height = 220, 60
    span_x, span_y = (max(xs) - min(xs)) or 1, (max(ys) - min(ys)) or 1
    path = " ".join(
        f"{4 + (x - min(xs)) / span_x * (width - 8):.1f},{height - 4 - (y - min(ys)) / span_y * (height - 8):.1f}"
        for x, y in points
    )
    return (
        f'<figure><svg width="{width}" height="{height}" role="img" aria-label="{escape(name)}">'
        f'<polyline points="{path}" fill="none" stroke="#3e63dd" stroke-width="1.5"/></svg>'
        f"<figcaption>{escape(name)}: {ys[0]:.3g} → {ys[-1]:.3g}</figcaption></figure>"
    )
