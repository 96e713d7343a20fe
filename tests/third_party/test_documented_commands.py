"""CONTRIBUTING's commands, from nothing to a wheel that a recipe demands, run as they are written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def commands() -> str:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition("## From nothing to a published verifier\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"```bash\n(.*?)```", section, re.DOTALL)
    assert len(blocks) == 2
    return "\n".join(blocks)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("newcomer")
    build = [
        sys.executable,
        "-m",
        "pip",
        "-q",
        "--disable-pip-version-check",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
    ]
    subprocess.run([*build, "-w", folder, ROOT / "core"], check=True)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "COLLEGIUM": str(next(folder.glob("*.whl"))),
        "PIP_CONSTRAINT": str(ROOT / "constraints.txt"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    script = f"set -ex\n{commands()}"
    return folder, subprocess.run(["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True)


def test_every_command_succeeds(done):
    assert done[1].returncode == 0, done[1].stdout[-3000:] + done[1].stderr[-3000:]


def test_they_do_what_the_text_says(done):
    folder, finished = done
    assert (folder / "acme-units/dist/acme_units-0.1.0-py3-none-any.whl").is_file()
    assert (folder / "acme-units/src/acme_units/conformance.json").is_file()
    assert "Acme Ltd" in finished.stdout
    assert re.search(r"\d+ passed", finished.stdout)
    assert "agreement 100%" in finished.stdout or "agreement 100.00%" in finished.stdout
    assert "trust" in finished.stdout.partition("conformance.json)")[2]
