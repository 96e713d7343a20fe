"""Run `collegium check` on this package with what its components need: an endpoint and a checkpoint, both made here.

``python verifiers/judge/conformance.py [--out FILE]``; further arguments go to the command.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).parent


def load(path: Path) -> ModuleType:
    """Import a file that belongs to no package."""
    spec = importlib.util.spec_from_file_location(f"collegium_judge_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def main(arguments: list[str]) -> int:
    """Return the command's exit code."""
    measure, scripted = load(HERE / "measure.py"), load(HERE / "tests" / "scripted_endpoint.py")
    with tempfile.TemporaryDirectory() as folder, scripted.serving() as server:
        measure.train_reward_model([measure.Pair("p", "?", "four", "five")] * 32, Path(folder), epochs=2, width=32)
        options = {
            "judge.endpoint": server.url,
            "judge.model": "rule",
            "judge.rubric": "'Mention: four'",
            "reward-model.path": folder,
            "reward-model-score.path": folder,
        }
        settings = [part for name, value in options.items() for part in ("--set", f"{name}={value}")]
        return subprocess.run([sys.executable, "-m", "collegium", "check", str(HERE), *settings, *arguments]).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
