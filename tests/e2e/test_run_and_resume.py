"""A recipe from end to end: the run directory, the store, and a kill in the middle of any stage."""

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

from tests.e2e.conftest import RECIPE, numbers, statuses

pytestmark = pytest.mark.e2e

STAGES = ["base", "sft", "teacher-copy", "teacher-reverse", "student"]


def test_a_run_leaves_the_directory_that_the_design_describes(finished):
    run = finished / "run"
    for name in ("recipe.yaml", "recipe.lock.json", "events.jsonl", "report.json", "report.html"):
        assert (run / name).stat().st_size > 0
    for stage in STAGES:
        folder = run / "stages" / stage
        assert json.loads((folder / "status.json").read_text())["status"] == "completed"
        assert (folder / "metrics.jsonl").stat().st_size > 0
        assert (folder / "model/model.safetensors").stat().st_size > 0
        assert not (folder / "checkpoints").exists()
    assert (run / "stages/student/samples.jsonl").stat().st_size > 0


def test_the_report_has_each_domain_and_every_model_in_it(finished):
    report = json.loads((finished / "run/report.json").read_text())
    assert (report["schema"], report["status"], report["recipe"]) == (1, "completed", "toy")
    assert [stage["id"] for stage in report["stages"]] == STAGES
    assert report["rollouts"] == 2 * 6 * 8 * 4 + 6 * 16
    for domain, row in report["domains"].items():
        assert set(row["scores"]) == set(STAGES)
        assert row["start"] == row["scores"]["sft"]
        assert row["teacher"] == row["scores"][f"teacher-{domain}"]
        assert row["student"] == row["scores"]["student"]
    assert {"collegium", "collegium-sft", "collegium-grpo", "collegium-mopd", "collegium-toy"} == {
        plugin["distribution"] for plugin in report["plugins"]
    }


def test_the_end_prints_the_table_and_where_the_report_is(finished):
    text = (finished / "stdout.txt").read_text()
    assert "headroom captured" in text
    assert "report: run/report.html" in text
    assert "student: step 6/6" in text


def test_a_second_run_takes_every_stage_from_the_store_with_the_same_numbers(finished, cli):
    done = cli("run", "toy.yaml", "--out", "again", "--store", "store", cwd=finished)
    assert done.returncode == 0, done.stderr
    assert set(statuses(finished / "again").values()) == {"cached"}
    assert numbers(finished / "again") == numbers(finished / "run")
    plan = json.loads(cli("plan", "toy.yaml", "--store", "store", "--json", cwd=finished).stdout)
    assert all(stage["cached"] for stage in plan["stages"])


def test_the_same_seed_gives_the_same_numbers_and_another_does_not(finished, cli, tmp_path):
    shutil.copy(finished / "toy.yaml", tmp_path)
    assert cli("run", "toy.yaml", "--out", "run", "--store", "store", cwd=tmp_path).returncode == 0
    assert set(statuses(tmp_path / "run").values()) == {"completed"}
    assert numbers(tmp_path / "run") == numbers(finished / "run")
    other = cli("run", "toy.yaml", "--out", "other", "--store", "store", "seed=4", cwd=tmp_path)
    assert other.returncode == 0
    assert numbers(tmp_path / "other") != numbers(finished / "run")


def test_changing_one_teacher_reruns_it_and_the_student_and_nothing_else(finished, cli):
    done = cli(
        "run", "toy.yaml", "--out", "changed", "--store", "store", "stages.teacher.per.copy.lr=2e-3", cwd=finished
    )
    assert done.returncode == 0, done.stderr
    found = statuses(finished / "changed")
    assert {stage for stage, status in found.items() if status == "completed"} == {"teacher-copy", "student"}
    difference = json.loads(cli("diff", "run", "changed", "--json", cwd=finished).stdout)
    assert difference["stages"] == ["teacher-copy", "student"]
    assert difference["changes"] == ["recipe: stages.teacher.per.copy.lr: absent -> 0.002"]


def test_a_teacher_from_outside_has_its_score_in_the_report(finished, cli):
    teacher = "stages.student.teachers.copy={use: checkpoint, path: run/stages/teacher-copy/model}"
    done = cli("run", "toy.yaml", teacher, "--out", "outside", "--store", "store", cwd=finished)
    assert done.returncode == 0, done.stderr
    ours, theirs = (
        json.loads((finished / run / "report.json").read_text())["domains"]["copy"] for run in ("outside", "run")
    )
    assert ours["teacher"] == theirs["teacher"]
    assert ours["teacher"] is not None


def test_evaluating_a_model_again_gives_the_reported_scores(finished, cli):
    done = cli("eval", "run/stages/student/model", "--recipe", "toy.yaml", "--json", cwd=finished)
    assert done.returncode == 0, done.stderr
    report = json.loads((finished / "run/report.json").read_text())
    assert json.loads(done.stdout) == {name: row["student"] for name, row in report["domains"].items()}


def start(folder: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "collegium", "run", "toy.yaml", "--out", "run", "--store", "store"]
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for_steps(run: Path, stage: str, steps: int, process: subprocess.Popen[bytes]) -> None:
    path = run / "stages" / stage / "metrics.jsonl"
    while not (path.is_file() and path.read_bytes().count(b"\n") >= steps):
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.002)


def workers_of(run: Path) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if b"collegium.worker" in command and str(run).encode() in command:
                found.append(int(entry.name))
    return found


def store_without(finished: Path, folder: Path, stages: list[str]) -> None:
    """Copy the finished store, less the stages given and what follows from them."""
    shutil.copy(finished / "toy.yaml", folder)
    shutil.copytree(finished / "store", folder / "store")
    lock = json.loads((finished / "run/recipe.lock.json").read_text())
    for stage in stages:
        shutil.rmtree(folder / "store/objects" / lock["stages"][stage]["fingerprint"])
    for path in (folder / "store/scores").iterdir():
        if json.loads(path.read_text())["stage"] in stages:
            path.unlink()


@pytest.mark.parametrize(
    ("killed", "missing"),
    [("base", STAGES), ("sft", STAGES[1:]), ("teacher-copy", ["teacher-copy", "student"]), ("student", ["student"])],
)
def test_a_kill_in_the_middle_of_a_stage_and_a_resume_end_with_the_same_numbers(
    finished, cli, environment, tmp_path, killed, missing
):
    store_without(finished, tmp_path, missing)
    process = start(tmp_path, environment)
    run = tmp_path / "run"
    wait_for_steps(run, killed, 3, process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 60
    while workers_of(run) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert workers_of(run) == []
    assert json.loads((run / "stages" / killed / "status.json").read_text())["status"] == "running"
    done = cli("resume", "run", "--store", "store", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "resumes after step" in done.stdout
    assert numbers(run) == numbers(finished / "run")
    ours, theirs = (
        [
            {key: value for key, value in json.loads(line).items() if not key.startswith("time/")}
            for line in (folder / "stages" / killed / "metrics.jsonl").read_text().splitlines()
        ]
        for folder in (run, finished / "run")
    )
    assert ours == theirs


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("executor", ["local", "in-process"])
def test_an_interrupt_stops_the_run_at_once_and_a_resume_goes_on(cli, environment, tmp_path, sent, executor):
    text = RECIPE.replace("steps: 6\n    batch: 16", "steps: 4000\n    batch: 16")
    text = text.replace("executor: {use: local, workers: 2}", f"executor: {executor}")
    (tmp_path / "toy.yaml").write_text(text)
    process = start(tmp_path, environment)
    wait_for_steps(tmp_path / "run", "base", 3, process)
    process.send_signal(sent)
    assert process.wait(timeout=60) == 130
    assert workers_of(tmp_path / "run") == []
    done_steps = (tmp_path / "run/stages/base/metrics.jsonl").read_bytes().count(b"\n")
    assert done_steps < 4000
    assert json.loads((tmp_path / "run/report.json").read_text())["status"] == "failed"
    resumed = subprocess.Popen(
        [sys.executable, "-m", "collegium", "resume", "run"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE
    )
    assert resumed.stdout is not None
    lines = iter(resumed.stdout.readline, b"")
    assert any(b"resumes after step" in line for line in lines)
    resumed.kill()
    resumed.wait()
    resumed.stdout.close()


def test_an_artifact_edited_in_the_run_directory_is_not_used(finished, cli, tmp_path):
    for name in ("run", "store"):
        shutil.copytree(finished / name, tmp_path / name)
    shutil.copy(finished / "toy.yaml", tmp_path)
    lock = json.loads((tmp_path / "run/recipe.lock.json").read_text())
    shutil.rmtree(tmp_path / "store/objects" / lock["stages"]["student"]["fingerprint"])
    (tmp_path / "run/stages/student/status.json").unlink()
    weights = tmp_path / "run/stages/sft/model/model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-400:] = bytes(400)
    weights.write_bytes(content)
    done = cli("resume", "run", "--store", "store", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert numbers(tmp_path / "run") == numbers(finished / "run")


def test_resume_finds_the_store_of_the_run_from_anywhere(finished, cli, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    shutil.copytree(finished / "run", tmp_path / "run")
    done = cli("resume", tmp_path / "run", cwd=tmp_path / "elsewhere")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "elsewhere/.collegium").exists()
    assert set(statuses(tmp_path / "run").values()) <= {"completed", "cached"}
