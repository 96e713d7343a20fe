"""What ranks tell through files, also when those are torn, and what is left of them afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from collegium.job import StageJob, StageOutcome
from collegium.launch_config import LaunchConfig
from collegium.ranks import LOG, RankFile, run_ranks

RANK = """
import os, subprocess, sys
from pathlib import Path
from collegium.job import StageEvent, StageOutcome
from collegium.ranks import run_as_rank

def run(job, listener):
    child = subprocess.Popen(["sleep", "300"])
    Path(job.directory, f"child-{os.environ['RANK']}").write_text(str(child.pid))
    print("x" * 1000)
    for step in (1, 2):
        listener(StageEvent(stage=job.id, kind="step", step=step, total=2))
    if job.options.get("fails") == int(os.environ["RANK"]):
        return StageOutcome(stage=job.id, status="failed", seconds=0, problem="no luck", kind="DataError")
    return StageOutcome(stage=job.id, status="completed", seconds=0, metrics={"loss": 1.0})

run_as_rank(Path(sys.argv[1]), run)
"""


def job_in(folder: Path, **options: object) -> StageJob:
    launch = LaunchConfig(strategy="ddp", processes=2)
    return StageJob(
        id="s",
        use="x/y",
        options=dict(options),
        seed=0,
        domains={},
        evaluate_on={},
        directory=str(folder),
        launch=launch,
    )


def run(folder: Path, monkeypatch, **options: object) -> tuple[StageOutcome, list[int]]:
    site = folder / "site"
    site.mkdir()
    (site / "light_rank.py").write_text(RANK)
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    steps: list[int] = []
    outcome = run_ranks(job_in(folder, **options), lambda event: steps.append(event.step), "light_rank")
    return outcome, steps


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False


def test_the_first_ranks_events_come_through_and_no_child_of_a_rank_lives_on(tmp_path, monkeypatch):
    outcome, steps = run(tmp_path, monkeypatch)
    assert (outcome.status, outcome.metrics, steps) == ("completed", {"loss": 1.0}, [1, 2])
    deadline = time.monotonic() + 10
    children = [int((tmp_path / f"child-{rank}").read_text()) for rank in (0, 1)]
    while any(map(alive, children)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, children))
    assert not (tmp_path / "ranks").exists()


def test_the_rank_that_failed_is_the_stages_outcome(tmp_path, monkeypatch):
    outcome, _ = run(tmp_path, monkeypatch, fails=1)
    assert (outcome.status, outcome.kind, outcome.problem) == ("failed", "DataError", "no luck")
    assert list(tmp_path.glob(f"ranks/*/{LOG}"))


def test_lines_that_are_torn_or_no_object_are_passed_over(tmp_path):
    file = RankFile(tmp_path / "0.jsonl")
    file.path.write_bytes(b'{garbage\n5\n{"event": {"half": ')
    file.write("outcome", '{"stage": "s"}')
    assert [line["outcome"] for line in file.fresh()] == [{"stage": "s"}]


def test_torchrun_ends_with_the_process_that_started_it(tmp_path, monkeypatch):
    site = tmp_path / "site"
    site.mkdir()
    (site / "slow_rank.py").write_text(
        "import time\nfrom collegium.worker import die_with_parent\ndie_with_parent()\ntime.sleep(300)\n"
    )
    (tmp_path / "job.json").write_text(job_in(tmp_path).model_dump_json())
    script = (
        "import sys; from pathlib import Path; from collegium.job import StageJob; from collegium.ranks import run_ranks\n"
        "job = StageJob.model_validate_json(Path(sys.argv[1]).read_text())\n"
        "run_ranks(job, print, 'slow_rank')\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    worker = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "job.json")])
    deadline = time.monotonic() + 60

    def ours() -> list[int]:
        listed = subprocess.run(["ps", "-wweo", "pid,args"], capture_output=True, text=True, check=True).stdout
        return [int(line.split()[0]) for line in listed.splitlines() if f"{tmp_path}/ranks/" in line]

    while not ours() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert ours()
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    while ours() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert ours() == []
