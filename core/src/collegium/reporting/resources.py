"""What each stage needs, as JSON and as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table

from collegium.planning.memory import size
from collegium.planning.resources import StageResources

WORDS: Mapping[str, str] = {
    "scoring": "layers while scoring",
    "beside": "models trained beside",
    "reward_models": "reward models on the first rank",
    "judging": "a reward model's layer on the first rank",
    "logits": "logits chunk",
    "engine_weights": "engine's weights",
    "kv_cache": "KV cache",
}
"""Parts whose name on paper differs."""


def describe_resources(needs: StageResources) -> dict[str, Any]:
    """Return a stage's needs as plain data."""
    total = needs.total
    return {
        "launcher": needs.launcher,
        "ranks": needs.ranks,
        "engine": needs.engine,
        "model": needs.model,
        "parameters": needs.parameters,
        "tokens_per_step": needs.tokens_per_step,
        "tokens_per_rollouts": needs.tokens_per_rollouts,
        "device_bytes": {**needs.bytes, "total": total},
        "peak": None if total is None else needs.peak,
        "host_bytes": needs.host,
        "host_bytes_first_rank": dict(needs.host_first),
        "device_capacity": needs.capacity,
        "unknown": dict(needs.unknown),
        "warning": needs.warning,
    }


def resources_table(rows: Sequence[tuple[str, dict[str, Any]]]) -> Table:
    """Return a table of stages and their needs, those that need the same in one row."""
    table = Table(title="resources (at most; memory of each device in its fullest phase)")
    table.add_column("stage", overflow="fold")
    for name in ("launcher", "ranks", "engine", "tokens per step", "memory"):
        table.add_column(name, no_wrap=True)
    table.add_column("of which", overflow="fold")
    alike: dict[tuple[str, ...], list[str]] = {}
    for stage, needs in rows:
        engine = str(needs["engine"] or "-").rpartition("/")[2]
        alike.setdefault((needs["launcher"], str(needs["ranks"]), engine, _tokens(needs), *_memory(needs)), []).append(
            stage
        )
    for cells, stages in alike.items():
        table.add_row("\n".join(stages), *cells)
    return table


def unknowns(rows: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
    """Return a line per reason why something is unknown, with the stages that it is about."""
    stages: dict[str, list[str]] = {}
    for stage, needs in rows:
        for reason in dict.fromkeys(needs["unknown"].values()):
            stages.setdefault(reason, []).append(stage)
    return [f"unknown for {', '.join(names)}: {reason}" for reason, names in stages.items()]


def warnings(rows: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
    """Return a line per stage whose estimate exceeds its device."""
    return [f"WARNING: {stage}: {needs['warning']}" for stage, needs in rows if needs["warning"]]


def _tokens(needs: Mapping[str, Any]) -> str:
    if needs["tokens_per_step"] is None:
        return "unknown"
    sampled = needs["tokens_per_rollouts"]
    return f"{needs['tokens_per_step']:,}" + (f"\n{sampled:,} sampled" if sampled is not None else "")


def _memory(needs: Mapping[str, Any]) -> tuple[str, str]:
    """Return the peak and its phase, and every part that a stage has, largest first."""
    parts = dict(needs["device_bytes"])
    total = parts.pop("total")
    if total is None:
        return "unknown", "-"
    if needs["peak"] != "load":
        parts.pop("loading")
    missing = [name for name, count in parts.items() if count is None]
    known = sorted(((count, name) for name, count in parts.items() if count), reverse=True)
    listed = [f"{WORDS.get(name, name)} {size(count)}" for count, name in known]
    listed += [f"{WORDS.get(name, name)} unknown" for name in missing]
    if needs["host_bytes"]:
        listed.append(f"in main memory {size(needs['host_bytes'])}")
    listed += [
        f"{name.replace('_', ' ')} in the first rank's main memory {size(count)}" for name, count in _first(needs)
    ]
    return f"{'over ' if missing else ''}{size(total)}\n({needs['peak']})", ", ".join(listed)


def _first(needs: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Yield what lies in the first rank's main memory for a while."""
    yield from dict(needs["host_bytes_first_rank"]).items()
