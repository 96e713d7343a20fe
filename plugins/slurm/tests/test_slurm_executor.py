"""The executor against Slurm's commands, with real processes: every way in which a job can end."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from collegium.builtin_components.executors import STOPPED
from collegium.job import StageOutcome

from .conftest import Run, eventually


class Following:
    """A run in a thread: what it returned once it is joined."""

    def __init__(self, run: Run, do: str, **fields: object) -> None:
        self._outcomes: list[StageOutcome] = []
        self._thread = threading.Thread(target=lambda: self._outcomes.append(run(do, **fields)))
        self._thread.start()

    def outcome(self) -> StageOutcome:
        self._thread.join()
        return self._outcomes[0]


def test_a_job_runs_where_the_run_is_and_its_events_arrive(run, slurm, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLURM_JOB_ID", "1")  # a run inside a Slurm job submits jobs of their own
    followed = run(real=True, setup=["export SET_UP=yes"], partition="cpu", memory_gb=2)
    outcome = followed("finish", threads=2)
    assert outcome.status == "completed", outcome.problem
    [start] = followed.starts
    assert (start["cwd"], start["SET_UP"], start["OMP_NUM_THREADS"]) == (str(tmp_path), "yes", "2")
    assert (start["SLURM_JOB_ID"], start["COLLEGIUM_MASTER"]) == ("101", None)
    assert [event.kind for event in followed.events if event.kind != "message"] == ["started", "step"]
    assert followed.told[0] == "submitted to Slurm as job 101"
    assert "--mem=2G" in slurm.job(101)["words"]
    assert slurm.job(101)["state"] == "COMPLETED"


def test_a_stage_that_fails_is_not_submitted_again(run, slurm):
    outcome = run()("raise")
    assert (outcome.status, outcome.kind, outcome.owner) == ("failed", "ValueError", "collegium-toy")
    assert slurm.ids() == [101]


@pytest.mark.parametrize(
    ("state", "switch"),
    [
        ("NODE_FAIL", None), ("PREEMPTED", None), ("TIMEOUT", None), ("BOOT_FAIL", None),
        ("NODE_FAIL", "forget"), ("TIMEOUT", "no-accounting"),
    ],
)  # fmt: skip
def test_a_job_that_was_lost_is_submitted_again_and_told(run, slurm, state, switch):
    if switch:
        slurm.switch(switch)
    followed = run()
    following = Following(followed, "wait-once")
    assert eventually(lambda: followed.starts)
    slurm.end(101, state)
    outcome = following.outcome()
    assert outcome.status == "completed", outcome.problem
    assert slurm.ids() == [101, 102]
    assert [start["SLURM_JOB_ID"] for start in followed.starts] == ["101", "102"]
    told = next(text for text in followed.told if "submitted again" in text)
    assert told.startswith(f"Slurm job 101 ended ({state}): ")
    assert told.endswith("submitted again, from its last checkpoint (1 of 2)")


@pytest.mark.parametrize(
    ("state", "kind", "words"),
    [
        ("OUT_OF_MEMORY", "OutOfMemory", "more memory than it had asked for; ask for more (memory_gb)"),
        ("CANCELLED", "Cancelled", "cancelled from outside"),
        ("DEADLINE", "Deadline", "ended at its deadline"),
    ],
)
def test_what_would_end_the_same_way_is_not_submitted_again(run, slurm, state, kind, words):
    followed = run()
    following = Following(followed, "wait")
    assert eventually(lambda: followed.starts)
    slurm.end(101, state)
    outcome = following.outcome()
    assert (outcome.status, outcome.kind) == ("failed", kind)
    assert words in outcome.problem
    assert "the end of " in outcome.problem
    assert slurm.ids() == [101]


def test_a_worker_that_dies_is_started_again_and_one_that_always_dies_is_given_up(run, slurm):
    followed = run(retries=1)
    assert followed("die-once").status == "completed"
    [told] = [text for text in followed.told if "submitted again" in text]
    assert told.startswith("Slurm job 101 ended (FAILED): its worker was killed by signal 9")
    outcome = followed("die")
    assert (outcome.status, outcome.kind) == ("failed", "WorkerDied")
    assert outcome.problem.startswith("after 2 submissions: Slurm job 104 ended (FAILED)")


def test_a_job_that_neither_queue_nor_accounting_knows_is_submitted_again(run, slurm):
    slurm.switch("forget")
    slurm.switch("no-accounting")
    followed = run()
    outcome = followed("die-once")
    assert outcome.status == "completed", outcome.problem
    assert any("Slurm job 101 ended (unknown to Slurm): it left no outcome" in text for text in followed.told)


def test_a_setup_that_fails_is_told_with_the_end_of_the_log(run, slurm):
    outcome = run(setup=["echo no such module >&2; exit 3"])("finish")
    assert (outcome.status, outcome.kind) == ("failed", "WorkerDied")
    assert "exited with code 3 and without an outcome" in outcome.problem
    assert outcome.problem.endswith("no such module")
    assert slurm.ids() == [101]


def test_a_refused_submission_is_told_as_slurm_says_it(run, slurm):
    outcome = run(partition="gone")("finish")
    assert (outcome.status, outcome.kind, outcome.owner) == ("failed", "PluginError", "collegium-slurm")
    assert "invalid partition specified: gone" in outcome.problem
    assert slurm.ids() == []


def test_a_controller_that_does_not_answer_is_waited_for(run, slurm):
    slurm.switch("busy")
    followed = run()
    following = Following(followed, "wait-once")
    slurm.switch("busy", False)
    assert eventually(lambda: followed.starts)
    slurm.switch("busy")
    slurm.end(101, "NODE_FAIL")
    slurm.switch("busy", False)
    assert following.outcome().status == "completed"


def test_a_submission_whose_answer_got_lost_is_not_made_twice(run, slurm):
    slurm.switch("lose-answer")
    followed = run()
    assert followed("finish").status == "completed"
    assert slurm.ids() == [101]


def test_waiting_and_running_are_told_once(run, slurm):
    slurm.switch("hold")
    followed = run()
    following = Following(followed, "wait-once")
    assert eventually(lambda: "waits (Resources)" in followed.told)
    slurm.switch("hold", False)
    assert eventually(lambda: "runs on localhost" in followed.told)
    assert eventually(lambda: followed.starts)
    slurm.end(101, "PREEMPTED")
    following.outcome()
    first = followed.told[: followed.told.index("submitted to Slurm as job 102")]
    assert first.count("waits (Resources)") == first.count("runs on localhost") == 1


@pytest.mark.parametrize("held", [False, True])
def test_closing_cancels_jobs_that_run_or_wait(run, slurm, held):
    if held:
        slurm.switch("hold")
    followed = run()
    following = Following(followed, "wait")
    assert eventually(slurm.ids if held else lambda: followed.starts)
    assert eventually(lambda: any("submitted" in text for text in followed.told))
    followed.executor.close()
    assert following.outcome().kind == STOPPED
    assert slurm.job(101)["state"] == "CANCELLED"
    assert eventually(lambda: slurm.processes(101) == [])
    assert followed("finish").kind == STOPPED
    assert slurm.ids() == [101]
    if held:
        slurm.switch("hold", False)


def test_an_interrupt_cancels_the_job(run, slurm):
    followed = run()

    def interrupt(event):
        if event.kind == "step":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        followed.executor.execute(followed.job("wait"), interrupt)
    assert slurm.job(101)["state"] == "CANCELLED"


def test_the_job_of_a_run_that_was_killed_is_ended_before_another_is_submitted(run, slurm):
    killed = run()
    following = Following(killed, "wait-once")
    assert eventually(lambda: killed.starts)
    resumed = run()
    outcome = resumed("wait-once")
    assert outcome.status == "completed", outcome.problem
    assert resumed.told[0] == "ends Slurm job 101 of the earlier run"
    assert slurm.job(101)["state"] == "CANCELLED"
    assert following.outcome().kind == "Cancelled"
    assert [start["SLURM_JOB_ID"] for start in resumed.starts] == ["101", "102"]


def test_a_job_that_ends_well_but_shows_no_outcome_points_at_the_file_system(run, slurm):
    followed = run(setup=["exit 0"])
    outcome = followed("finish")
    assert outcome.status == "failed"
    assert "is this folder on a file system that every node shares?" in outcome.problem


def test_lines_that_are_no_event_are_skipped_and_counted(run, slurm, tmp_path):
    lines = [b"half a li", b'{"event": {"stage": "probe", "ki', b"[1]", b"7", b"{}", b'{"event": 1}', b"\xff"]
    (tmp_path / "torn").write_bytes(b"\n".join([*lines, b'{"outcome": {}}', b""]))
    followed = run(setup=[f'cat {tmp_path}/torn >> "$(echo {tmp_path}/stage/slurm/job-*)/events-0.jsonl"'])
    assert followed("finish").status == "completed"
    assert [event.kind for event in followed.events if event.kind != "message"] == ["step"]
    [told] = [text for text in followed.told if "skipped" in text]
    assert told == followed.told[-1]
    assert told.endswith("/events-0.jsonl that are no event and were skipped: 8; is its disk full?")


def test_slots_are_the_jobs_submitted_at_once(run):
    assert run(parallel=7).executor.slots == 7


def test_every_attempt_keeps_its_script_for_people_to_read(run, slurm, tmp_path):
    run()("finish")
    [folder] = [path for path in (tmp_path / "stage/slurm").iterdir() if path.is_dir()]
    assert {path.name for path in folder.iterdir()} == {"job.json", "job.sh", "events-0.jsonl", "log.txt"}
    assert Path(folder / "job.sh").read_text().startswith("#!/bin/bash\n")
