"""Start-up with 30 plugins installed: seconds of `--help` and `plugins list` beside a bare interpreter, in turn."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PLUGINS = 30
RUNS = 9
PLUGIN = """
from collegium import component, hookimpl

@hookimpl
def register_verifiers():
    return [component("verifier-{number}", "acme_{number}.verifier:Verifier{number}", "A verifier.")]

@hookimpl
def register_rewards():
    return [component("reward-{number}", "acme_{number}.reward:Reward{number}", "A reward source.")]
"""


def write_plugins(site: Path, count: int = PLUGINS) -> None:
    """Write plugin packages into a folder that stands on the import path."""
    for number in range(count):
        package = site / f"acme_{number}"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "plugin.py").write_text(PLUGIN.format(number=number))
        metadata = site / f"acme_plugin_{number}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: acme-plugin-{number}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[collegium]\nacme-{number} = acme_{number}.plugin\n")


def seconds(command: list[str], environment: dict[str, str]) -> float:
    """Return the wall time of a command."""
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return time.perf_counter() - started


def main() -> None:
    """Print the medians."""
    with tempfile.TemporaryDirectory() as site:
        write_plugins(Path(site))
        environment = {**os.environ, "PYTHONPATH": site}
        commands = {
            "a bare interpreter": ["-c", "pass"],
            "collegium --help": ["-m", "collegium", "--help"],
            "collegium plugins list": ["-m", "collegium", "plugins", "list"],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(RUNS):
            for name, arguments in commands.items():
                times[name].append(seconds([sys.executable, *arguments], environment))
    bare = statistics.median(times["a bare interpreter"])
    print(f"with {PLUGINS} more plugins, median of {RUNS}:")
    for name, measured in times.items():
        median = statistics.median(measured)
        print(f"{name:<26}{median:>7.3f} s{median / bare:>8.1f} x")


if __name__ == "__main__":
    main()
