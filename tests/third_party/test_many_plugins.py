"""With thirty more plugins installed the command line imports no component, no heavy library, and scans once."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.benchmarks.startup import PLUGINS, write_plugins

HEAVY = ("torch", "transformers", "numpy", "datasets", "accelerate", "pydantic_settings", "requests")
CODE = """
import importlib.metadata, sys
scans = []
real = importlib.metadata.entry_points
importlib.metadata.entry_points = lambda **kw: scans.append(kw) or real(**kw)
from collegium.cli.main import cli
cli({arguments}, standalone_mode=False)
print("SCANS", len([kw for kw in scans if kw.get("group") == "collegium"]), file=sys.stderr)
print("LOADED", *sorted(sys.modules), file=sys.stderr)
"""


@pytest.mark.parametrize("arguments", [["--help"], ["plugins", "list"], ["plugins", "doctor", "--json"]])
def test_thirty_plugins_are_scanned_once_and_nothing_heavy_is_imported(arguments, tmp_path):
    write_plugins(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    code = CODE.format(arguments=arguments)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    lines = dict(line.split(" ", 1) for line in done.stderr.splitlines() if line.startswith(("SCANS", "LOADED")))
    loaded = lines["LOADED"].split()
    assert [name for name in loaded if name in HEAVY] == []
    assert [name for name in loaded if name.startswith("acme_") and name.endswith((".verifier", ".reward"))] == []
    plugins = [name for name in loaded if name.startswith("acme_") and name.endswith(".plugin")]
    if "doctor" in arguments:  # it looks once, then at each plugin in a process of its own
        assert len(plugins) == PLUGINS
    elif arguments == ["--help"]:
        assert lines["SCANS"] == "0"
    else:
        assert lines["SCANS"] == "1"
        assert len(plugins) == PLUGINS
        assert "acme-plugin-29" in done.stdout
