"""Measure the verifiers on labelled real data and print the README's table (`make measure`).

Each verifier's folder may hold a ``measure.py`` with ``audits(data: Path) -> Iterator[AuditSpec]``. A verdict that
disagrees with its label must be explained there; one that is not ends this command with 1.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from collegium.audit import AuditReport, AuditSpec, Depth, run_audit
from collegium.plugins import Registry

ROOT = Path(__file__).parents[2]
SCHEMA = 1
TIMES = ("items_per_s",)
"""Fields of measured.json that differ from run to run."""
MARKS = ("<!-- measured -->", "<!-- /measured -->")
"""Where the README's table stands."""
LEARNED_TOLERANCE = 0.05
"""By how much a trained model's rates (and, relatively, its counts) may differ between machines."""
DEPTH = Depth(perturb=0, exploits=0, alone=0)


@dataclass(frozen=True, slots=True)
class Measured:
    """One set of cases and what came out."""

    spec: AuditSpec
    report: AuditReport

    @property
    def unexplained(self) -> list[str]:
        """Ids of cases that verdict and label disagree on, without a reason."""
        if self.spec.learned:
            return []
        return [name for name in self.report.disagreements if name not in self.spec.explained]

    @property
    def stale(self) -> list[str]:
        """Ids that are explained and do not disagree."""
        return sorted(set(self.spec.explained) - set(self.report.disagreements))

    def row(self) -> dict[str, Any]:
        """Return what measured.json keeps."""
        report = self.report
        kept: dict[str, Any] = {
            "name": self.spec.name,
            "verifier": report.verifier,
            "options": {} if self.spec.learned else dict(self.spec.options),
            "learned": self.spec.learned,
            "source": self.spec.source,
            "note": self.spec.note,
            "cases": report.cases,
            "agreement": _rounded(report.agreement),
            "false_positives": len(report.false_positives),
            "false_positive_rate": _rounded(report.false_positive_rate),
            "false_negatives": len(report.false_negatives),
            "false_negative_rate": _rounded(report.false_negative_rate),
            "abstained": len(report.abstained),
            "errors": len(report.errors),
            "explained": len(report.disagreements) - len(self.unexplained),
            "items_per_s": None if report.items_per_s is None else float(f"{report.items_per_s:.3g}"),
        }
        if report.exploits is not None:
            kept["probes"] = {"tried": report.exploits.tried, "passed": len(report.exploits.passed)}
        if report.comparison is not None:
            other = report.comparison
            kept["baseline"] = {
                "name": other.other,
                "agreement": _rounded(other.other_agreement),
                "false_positives": len(other.other_false_positives),
            }
        return kept


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def specs_of(member: Path, data: Path) -> Iterator[AuditSpec]:
    """Yield the audits of a verifier's folder."""
    name = f"measure_{member.name}"
    spec = importlib.util.spec_from_file_location(name, member / "measure.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    yield from module.audits(data)


def members(only: Sequence[str] = ()) -> list[Path]:
    """Return the verifiers that say how they are measured."""
    found = [path.parent for path in sorted(ROOT.glob("verifiers/*/measure.py"))]
    return [member for member in found if not only or member.name in only]


def measured_file(member: Path) -> Path:
    """Return where a verifier's figures are kept: in its package."""
    return member / "src" / f"collegium_verifier_{member.name}" / "measured.json"


def data_folder() -> Path:
    """Return the folder of real data."""
    folder = Path(os.environ.get("COLLEGIUM_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        sys.exit(f"the labelled data is not at {folder}; set COLLEGIUM_DATA")
    return folder


def measure(member: Path, data: Path, registry: Registry) -> list[Measured]:
    """Run all audits of a verifier."""
    found = []
    for spec in specs_of(member, data):
        ids = [case.id for case in spec.cases]
        if repeated := sorted({name for name in ids if ids.count(name) > 1} if len(set(ids)) < len(ids) else ()):
            sys.exit(f"{member.name}: {spec.name}: ids that are not unique, such as {repeated[0]!r}")
        found.append(Measured(spec, run_audit(spec, registry, replace(DEPTH, exploits=spec.probes))))
    return found


def table(found: Sequence[Measured]) -> str:
    """Return the rows as a Markdown table."""
    lines = [
        "| verifier | data | cases | agreement | false positives | probes that pass | beside it | cases/s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *map(_line, found)])


def _line(measured: Measured) -> str:
    report, spec = measured.report, measured.spec
    options = "" if spec.learned else ", ".join(f"{key}: {value}" for key, value in spec.options.items())
    short = report.verifier.rpartition("/")[2]
    negatives = report.cases - report.positives
    beside = ""
    probes = "" if report.exploits is None else f"{len(report.exploits.passed)} of {report.exploits.tried:,}"
    if (other := report.comparison) is not None:
        beside = f"{other.other}: {_share(other.other_agreement)}, {len(other.other_false_positives)} false positives"
    return " | ".join(
        [
            f"| `{short}`" + (f" ({options})" if options else ""),
            spec.name + (f"; {spec.note}" if spec.note else ""),
            f"{report.cases:,}",
            _share(report.agreement),
            f"{len(report.false_positives)} of {negatives:,}" if negatives else "-",
            probes,
            beside,
            f"{report.items_per_s:.3g} |" if report.items_per_s else "- |",
        ]
    )


def _share(value: float | None) -> str:
    """Return a share in per cent, never rounded up to 100."""
    if value is None:
        return "-"
    return "100%" if value == 1 else f"{min(value, 0.9999):.2%}"


def disagreements(found: Sequence[Measured]) -> Iterator[str]:
    """Yield a line per disagreement, with its reason."""
    for measured in found:
        for name in () if measured.spec.learned else measured.report.disagreements:
            reason = measured.spec.explained.get(name, "NOT EXPLAINED")
            said = measured.report.reasons.get(name, "")
            yield f"{measured.spec.name}: {name}: {reason}" + (f" ({said})" if said else "")
        for name in measured.report.exploits.passed if measured.report.exploits else ():
            yield f"{measured.spec.name}: probe that passes: {name}"
        for name in measured.stale:
            yield f"{measured.spec.name}: {name}: explained, but there is no disagreement"


def content(found: Sequence[Measured]) -> dict[str, Any]:
    """Return the content of measured.json."""
    version = metadata.version("collegium")
    return {
        "schema": SCHEMA,
        "collegium": version,
        "command": "make measure",
        "audits": [measured.row() for measured in found],
    }


def differences(member: Path, found: Sequence[Measured]) -> list[str]:
    """Say how the figures differ from those that the package holds; times are left out."""
    path = measured_file(member)
    if not path.is_file():
        return [f"{path.relative_to(ROOT)} is missing: make measure record=1"]
    kept = json.loads(path.read_text(encoding="utf-8"))["audits"]
    fresh = content(found)["audits"]
    for row in (*kept, *fresh):
        for name in TIMES:
            row.pop(name, None)
    if [row["name"] for row in kept] != [row["name"] for row in fresh]:
        return [f"{path.relative_to(ROOT)}: other sets of cases: {kept} and {fresh}"]
    return [
        f"{path.relative_to(ROOT)}: {old['name']}: {key}: {old.get(key)} is kept, {new.get(key)} was measured"
        for old, new in zip(kept, fresh, strict=True)
        for key in sorted({*old, *new})
        if not _agree(old.get(key), new.get(key), learned=bool(new.get("learned")))
    ]


def _agree(old: Any, new: Any, *, learned: bool) -> bool:
    """Compare two figures; a trained model's may differ a little, and its note, which has figures in it, is left out."""
    if not learned or old == new:
        return bool(old == new)
    if isinstance(old, str):
        return True
    both = isinstance(old, (int, float)) and isinstance(new, (int, float))
    return both and abs(old - new) <= (LEARNED_TOLERANCE if max(old, new) <= 1 else LEARNED_TOLERANCE * max(old, new))


def write_readme(text: str) -> None:
    """Put the table between its marks in the README."""
    path = ROOT / "README.md"
    before, _, rest = path.read_text(encoding="utf-8").partition(MARKS[0])
    _, found, after = rest.partition(MARKS[1])
    if not found:
        sys.exit(f"README.md has no {' ... '.join(MARKS)}")
    path.write_text(f"{before}{MARKS[0]}\n{text}\n{MARKS[1]}{after}", encoding="utf-8")


def main(arguments: Sequence[str]) -> int:
    """Measure, print, and record or compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[], metavar="NAME", help="folders below verifiers/")
    parser.add_argument("--record", action="store_true", help="write each package's measured.json")
    parser.add_argument("--check", action="store_true", help="fail where the figures differ from measured.json")
    options = parser.parse_args(arguments)
    data, registry = data_folder(), Registry.discover()
    found = {member: measure(member, data, registry) for member in members(options.only)}
    every = [measured for each in found.values() for measured in each]
    print(table(every))
    print(*disagreements(every), sep="\n")
    wrong = [f"{m.spec.name}: {m.unexplained + m.stale}" for m in every if m.unexplained or m.stale]
    for member, each in found.items():
        if options.record:
            measured_file(member).write_text(json.dumps(content(each), indent=1) + "\n", encoding="utf-8")
        if options.check:
            wrong += differences(member, each)
    if options.record and not options.only:
        write_readme(table(every))
    for line in wrong:
        print(f"error: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
