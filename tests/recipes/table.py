"""The Markdown table of the recipes, from their records alone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.recipes.execute import ROOT
from tests.recipes.figures import Figure
from tests.recipes.record import FINISHED, figures_of

MARKS = ("<!-- recipes:begin -->", "<!-- recipes:end -->")
"""Where the README's table stands."""
HEAD = (
    "| recipe | stages | minutes: of the stages, wall | what shows that it worked |",
    "|---|---|---|---|",
)


def table(records: Mapping[str, Mapping[str, Any]], digests: Mapping[str, str]) -> str:
    """Return the table.

    Args:
        records: By recipe.
        digests: Of every recipe that there is, as it stands: a record of another one is marked stale.
    """
    return "\n".join([*HEAD, *(_row(name, records.get(name), found) for name, found in digests.items())])


def _row(name: str, record: Mapping[str, Any] | None, digest: str) -> str:
    if record is None:
        return f"| `{name}` | | | not run yet |"
    if record["status"] not in FINISHED:
        return f"| `{name}` | | | **failed**: {record['problem'].replace('|', '/')} |"
    cached = sum(stage["status"] == "cached" for stage in record["stages"])
    stages = f"{len(record['stages'])}" + (f" ({cached} cached)" if cached else "")
    minutes = ", ".join(f"{record['seconds'][which] / 60:.1f}" for which in ("stages", "wall"))
    stale = "**stale: the recipe has changed since**<br>" if record["digest"] != digest else ""
    return f"| `{name}` | {stages} | {minutes} | {stale}{'<br>'.join(lines(figures_of(dict(record))))} |"


def lines(figures: Sequence[Figure]) -> Iterator[str]:
    """Yield one line for each kind of stage, in the order in which the recipe comes to them."""
    for kind in dict.fromkeys(each.kind for each in figures):
        mine = [each for each in figures if each.kind == kind]
        yield f"{kind}: " + "; ".join(map(sentence, mine))


def sentence(figure: Figure) -> str:
    """Return a figure in words, with its verdict where there is one."""
    verdict = {"holds": "", "reported": "", "does not hold": " **does not hold**", "missing": " **missing**"}
    words = " ".join(filter(None, [TEXTS[figure.kind](figure) if figure.numbers else "", figure.note]))
    return f"`{figure.stage}` {words}{verdict[figure.verdict]}"


def _reward_model(figure: Figure) -> str:
    n = figure.numbers
    chance = f"chance {n['chance']:.3f}, +{n['standard_errors']:.1f} SE, {n['pairs']:.0f} pairs"
    return f"{n['accuracy']:.3f} ({chance.replace('+-', '-')})"


def _preferences(figure: Figure) -> str:
    n = figure.numbers
    collapsed = ", collapsed" if n["collapsed"] else ""
    margin = f"margin {n['margin_before']:.2f} → {n['margin']:.2f}"
    return f"{margin}, chosen {n['chosen_before']:.2f} → {n['chosen']:.2f} nats a token{collapsed}"


def _change(figure: Figure) -> str:
    n = figure.numbers
    return f"{n['before']:.3f} → {n['after']:.3f} ({n['standard_errors']:+.1f} SE)"


def _headroom(figure: Figure) -> str:
    n = figure.numbers
    return f"headroom {n['least']:.2f} at least, {n['mean']:.2f} mean of {n['domains']:.0f}"


def _merge(figure: Figure) -> str:
    n = figure.numbers
    return f"{n['score']:.3f} (parts {n['parts_mean']:.3f} mean, {n['parts_best']:.3f} best)"


def _data(figure: Figure) -> str:
    n = figure.numbers
    rows = ", ".join(f"{count:.0f} {name}" for name, count in n.items() if name.startswith("rows"))
    asked = f" of {n['sampled']:.0f} sampled" if "sampled" in n else ""
    rate = next((f", {name} {n[name]:.2f}" for name in ("pass@1", "score") if name in n), "")
    return f"{rows}{asked}{rate}"


def _loss(figure: Figure) -> str:
    n = figure.numbers
    return f"loss {n['loss_before']:.2f} → {n['loss']:.2f}"


TEXTS: dict[str, Callable[[Figure], str]] = {
    "reward model": _reward_model,
    "preferences": _preferences,
    "RL": _change,
    "SFT": _change,
    "consolidation": _headroom,
    "merge": _merge,
    "merge of reward models": lambda figure: f"of {figure.numbers['models']:.0f}",
    "data": _data,
    "pretraining": _loss,
    "SFT without evaluation": _loss,
    "measurement": lambda figure: ", ".join(f"{name} {value:.3g}" for name, value in figure.numbers.items()),
}


def write_readme(text: str, marks: tuple[str, str], path: Path = ROOT / "README.md") -> None:
    """Put a table between its marks."""
    before, _, rest = path.read_text(encoding="utf-8").partition(marks[0])
    _, found, after = rest.partition(marks[1])
    if not found:
        sys.exit(f"{path.name} has no {' ... '.join(marks)}")
    path.write_text(f"{before}{marks[0]}\n{text}\n{marks[1]}{after}", encoding="utf-8")


def in_readme(marks: tuple[str, str], path: Path = ROOT / "README.md") -> str:
    """Return what stands between a table's marks."""
    _, found, rest = path.read_text(encoding="utf-8").partition(marks[0])
    if not found or marks[1] not in rest:
        raise LookupError(f"{path.name} has no {' ... '.join(marks)}")
    return rest.partition(marks[1])[0].strip()
