"""Run a component in a fresh process and learn what it did there: see `probe` for what is watched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collegium.component import Kind
from collegium.plugins.registry import Entry
from collegium.testing.conformance.cases import Case
from collegium.testing.conformance.outcome import CheckFailed

PACKAGE = "collegium.testing.conformance"
LONGEST_S = 180.0
"""Seconds that a fresh process may take."""


END = {"end": True}
"""The last line that a process of the kit prints."""


@dataclass(frozen=True, slots=True)
class Trace:
    """What a component did in a fresh process.

    Args:
        heavy: Heavy modules that importing the plugin's entry-point module brought in.
        outputs: What it gave for `exercise`'s inputs.
        signals: Uses of signal handlers and alarms.
        sockets: Network sockets opened, names looked up, connections made.
        writes: Files written in the working directory or outside the system's folder of temporary files.
    """

    heavy: tuple[str, ...]
    outputs: list[Any]
    signals: tuple[str, ...]
    sockets: tuple[str, ...]
    writes: tuple[str, ...]


def trace_component(kind: Kind, entry: Entry, options: Mapping[str, Any], cases: Sequence[Case]) -> Trace:
    """Build the component by name in a fresh process and exercise it.

    Raises:
        CheckFailed: If the process ends early or takes too long.
    """
    request = {
        "kind": kind,
        "id": entry.id,
        "module": entry.record.module,
        "options": dict(options),
        "cases": [case.model_dump() for case in cases],
    }
    (found,), _ = run_module_lines(f"{PACKAGE}.probe", request, LONGEST_S)
    return Trace(
        tuple(found["heavy"]),
        found["outputs"],
        tuple(found["signals"]),
        tuple(found["sockets"]),
        tuple(found["writes"]),
    )


def run_module_lines(
    module: str, request: Mapping[str, Any], timeout_s: float, *, strict: bool = True
) -> tuple[list[dict[str, Any]], str]:
    """Run a module of the kit in an empty directory, with this process's import path.

    Returns:
        The JSON lines that it printed up to `END`, and how it ended ill (empty if it ended well).

    Raises:
        CheckFailed: If `strict`, and it ended ill.
    """
    printed, ended = _run(module, request, timeout_s)
    lines = [json.loads(line) for line in printed.splitlines(keepends=True) if line.endswith("\n")]
    if END not in lines:
        ended = ended or "its process ended early, without an error (os._exit?)"
    if ended and strict:
        raise CheckFailed(ended)
    return [line for line in lines if line != END], ended


def _run(module: str, request: Mapping[str, Any], timeout_s: float) -> tuple[str, str]:
    """Return what a module printed, and how it ended ill."""
    with (
        tempfile.TemporaryDirectory(prefix="collegium-check-") as folder,
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as messages,
        tempfile.TemporaryFile("w+", encoding="utf-8") as printed,
    ):
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", module],
            cwd=folder,
            env=child_environment(),
            stdin=subprocess.PIPE,
            stdout=printed,
            stderr=messages,
            text=True,
        )
        ended = _ended(process, json.dumps(request), timeout_s)
        if ended:
            messages.seek(0)
            ended += ": " + (messages.read().strip().splitlines() or ["without a message"])[-1][:300]
        printed.seek(0)
        return printed.read(), ended


def _ended(process: subprocess.Popen[str], request: str, timeout_s: float) -> str:
    try:
        process.communicate(request, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return f"in a fresh process it was still running after {timeout_s:g} s"
    except BrokenPipeError:
        process.wait()
    if not process.returncode:
        return ""
    return f"in a fresh process it ended with exit code {process.returncode}"


def child_environment() -> dict[str, str]:
    """Return this process's environment, with its import path, and without byte code written beside sources."""
    path = os.pathsep.join(str(Path(entry).resolve()) for entry in sys.path if entry)
    return {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
