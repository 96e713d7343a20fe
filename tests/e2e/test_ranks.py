"""A whole recipe on several ranks: the numbers of one process, from the same file."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import numbers, statuses

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

DDP = ["launch.strategy=ddp", "launch.processes=2"]


def metrics(run: Path, stage: str) -> list[dict[str, float]]:
    lines = (run / "stages" / stage / "metrics.jsonl").read_text().splitlines()
    return [{name: value for name, value in json.loads(line).items() if not name.startswith("time/")} for line in lines]


def test_how_a_stage_is_spread_is_no_part_of_what_it_makes(finished, cli):
    done = cli("run", "toy.yaml", *DDP, "--out", "spread", "--store", "store", cwd=finished)
    assert done.returncode == 0, done.stderr
    assert set(statuses(finished / "spread").values()) == {"cached"}
    assert numbers(finished / "spread") == numbers(finished / "run")


def test_two_ranks_come_to_the_numbers_of_one_process(finished, cli, tmp_path):
    shutil.copy(finished / "toy.yaml", tmp_path)
    done = cli("run", "toy.yaml", *DDP, "--out", "run", "--store", "store", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for stage in ("base", "sft", "teacher-copy", "student"):
        ours, theirs = metrics(tmp_path / "run", stage), metrics(finished / "run", stage)
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert one == pytest.approx(other, rel=1e-3, abs=1e-4), stage
    for domain, row in json.loads((tmp_path / "run/report.json").read_text())["domains"].items():
        before = json.loads((finished / "run/report.json").read_text())["domains"][domain]
        assert row["scores"] == pytest.approx(before["scores"], abs=0.1)


def ranks_of(run: Path) -> list[int]:
    """Return the processes of this run's ranks, torchrun included."""
    return [pid for pid, args in _processes(run) if "/ranks/" in args]


def trainers_of(run: Path) -> list[int]:
    """Return those of them that train."""
    return [pid for pid, args in _processes(run) if "/ranks/" in args and "collegium.ranks" not in args]


def _processes(run: Path) -> list[tuple[int, str]]:
    listed = subprocess.run(["ps", "-wweo", "pid,args"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(maxsplit=1) for line in listed.splitlines()[1:]]
    return [(int(pid), args) for pid, args in rows if str(run) in args]


def start(folder: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a run on two ranks and wait for its first steps."""
    command = [sys.executable, "-m", "collegium", "run", "toy.yaml", *DDP, "stages.base.steps=400"]
    command += ["--out", "run", "--store", "store"]
    with open(folder / "said.txt", "wb") as said:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=said)
    seen = folder / "run/stages/base/metrics.jsonl"
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline and not (seen.is_file() and len(seen.read_text().splitlines()) > 3):
        assert process.poll() is None, (folder / "said.txt").read_text()
        time.sleep(0.1)
    return process


def test_a_run_that_is_killed_leaves_no_rank_behind(finished, environment, tmp_path):
    shutil.copy(finished / "toy.yaml", tmp_path)
    process = start(tmp_path, environment)
    assert len(trainers_of(tmp_path / "run")) == 2
    process.kill()
    process.wait()
    deadline = time.monotonic() + 30
    while ranks_of(tmp_path / "run") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert ranks_of(tmp_path / "run") == []


def test_a_rank_that_is_killed_ends_the_stage_and_a_resume_goes_on(finished, cli, environment, tmp_path):
    shutil.copy(finished / "toy.yaml", tmp_path)
    process, run = start(tmp_path, environment), tmp_path / "run"
    os.kill(trainers_of(run)[-1], signal.SIGKILL)
    assert process.wait(timeout=120) == 2
    text = (tmp_path / "said.txt").read_text()
    assert "stage 'base' failed: RankDied" in text
    assert "collegium resume" in text
    assert ranks_of(run) == []
    done = cli("resume", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "resumes after step" in done.stdout


def test_a_stage_that_knows_no_ranks_is_refused_them_by_name(finished, cli):
    text = (
        finished / "toy.yaml"
    ).read_text() + "  audit: {use: audit, verifier: toy, cases: toy.yaml, launch: {strategy: ddp}}\n"
    (finished / "audit.yaml").write_text(text)
    done = cli("plan", "audit.yaml", cwd=finished)
    assert done.returncode == 2
    assert "stages.audit.launch: collegium/audit runs in one process, found strategy 'ddp'" in done.stderr
