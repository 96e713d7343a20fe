"""Run a recipe with the real command line, or go on with the run that is there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from collegium.errors import CollegiumError
from collegium.planning.fingerprint import digest
from collegium.recipe import load_recipe
from collegium.running.directory import LOCK, RunDirectory
from collegium.store import read_object

ROOT = Path(__file__).parents[2]
PROFILE = "lab"


@dataclass(frozen=True, slots=True)
class Executed:
    """How a command ended.

    Args:
        directory: The run.
        problem: What went wrong; empty for a completed run.
    """

    directory: Path
    problem: str = ""


def run_recipe(recipe: Path, directory: Path, overrides: Sequence[str] = (), store: Path | None = None) -> Executed:
    """Run a recipe's lab profile to its end; its output goes to ``DIRECTORY.log``.

    A run of the same recipe is resumed, which for a finished one takes a moment. Where the command line refuses that,
    as packages or data have changed, the recipe runs anew: what still holds comes from the store.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    try:
        resumable = _is_run_of(directory, recipe, overrides)
    except CollegiumError as error:
        return Executed(directory, plain(str(error)))
    where = ["--store", str(store)] if store else []
    if resumable:
        before = _events(directory)
        code = _collegium(directory, "resume", str(directory), *where)
        if code == 0 or _events(directory) > before:
            return Executed(directory, _problem(directory, code))
    code = _collegium(directory, "run", str(recipe), "--profile", PROFILE, "--out", str(directory), *where, *overrides)
    return Executed(directory, _problem(directory, code))


def _is_run_of(directory: Path, recipe: Path, overrides: Sequence[str]) -> bool:
    resolved = load_recipe(recipe, overrides, PROFILE).resolved
    if not (directory / LOCK).is_file():
        return False
    return bool(read_object(directory / LOCK)["recipe"]["digest"] == digest(resolved))


def _events(directory: Path) -> int:
    """Return how many events a run has: a refused resume adds none."""
    return sum(1 for _ in RunDirectory(directory).events())


def _collegium(directory: Path, *arguments: str) -> int:
    """Run the command line and return its exit code."""
    with _log(directory).open("w", encoding="utf-8") as output:
        command = [sys.executable, "-m", "collegium", *arguments]
        return subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, cwd=ROOT).returncode


def _log(directory: Path) -> Path:
    return directory.with_name(directory.name + ".log")


def _problem(directory: Path, code: int) -> str:
    """Return the end of a failed command's output; nothing for one that went well."""
    if code == 0:
        return ""
    lines = [
        line for line in _log(directory).read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()
    ]
    errors = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    return plain(" ".join(lines[errors[-1] :] if errors else lines[-3:]) or f"exit code {code}")


def plain(text: str) -> str:
    """Return one line without this machine's paths."""
    return " ".join(text.replace(str(ROOT), ".").replace(str(Path.home()), "~").split())[:400]
