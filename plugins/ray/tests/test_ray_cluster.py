"""The executor on a real cluster: what a job gets, and what happens when stages, workers, nodes and runs end badly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from collegium import PluginError
from collegium.builtin_components.executors import STOPPED
from collegium.job import StageJob
from collegium_ray.executor import RayExecutor

from .conftest import eventually, processes_with

pytestmark = [pytest.mark.engines, pytest.mark.slow, pytest.mark.usefixtures("ray_installed")]

TWO_RANKS = {"strategy": "ddp", "processes": 2}
UNSHARED = ("unshare", "-Urm", "sh", "-c", 'mount -t tmpfs none "$HIDDEN" && exec "$0" "$@"')
"""A command prefix: with another, empty file system at $HIDDEN."""


@pytest.fixture
def executor(address):
    made = []

    def make(**options):
        made.append(RayExecutor({"address": address, **options}))
        return made[-1]

    yield make
    for each in made:
        each.close()


def job(folder: Path, do: str, **fields) -> StageJob:
    base = {"id": "probe", "use": "collegium-toy/probe", "options": {"do": do}, "seed": 1, "domains": {}}
    return StageJob(**{**base, "evaluate_on": {}, "directory": str(folder), **fields})


def starts(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "starts").read_text().splitlines()]


def both_idle(folder: Path) -> bool:
    return (folder / "waits").exists() and len(starts(folder)) == 2


def test_a_job_runs_in_the_runs_folder_with_its_share_of_the_node(executor, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECRET", "xyzzy")
    events = []
    outcome = executor(pass_env=["SECRET"]).execute(job(tmp_path / "s", "finish", threads=2), events.append)
    assert outcome.status == "completed", outcome.problem
    [start] = starts(tmp_path / "s")
    assert (start["cwd"], start["secret"], start["threads"]) == (str(tmp_path), "xyzzy", "2")
    assert start["gpus"] in {"0", "1"}  # the cluster declares two GPUs: one per process of the stage is the default
    assert [event.kind for event in events] == ["message", "started", "step"]
    assert events[0].text.startswith("runs on node ")
    assert sorted(path.name for path in (tmp_path / "s").iterdir() if path.name.startswith(".seen")) == []


def test_as_many_jobs_run_at_once_as_gpus_are_there(executor):
    assert executor().slots == 2
    assert executor(gpus=0).slots == 4


def test_a_stage_that_fails_is_not_started_again(executor, tmp_path):
    events = []
    outcome = executor().execute(job(tmp_path, "raise"), events.append)
    assert (outcome.status, outcome.kind) == ("failed", "ValueError")
    assert "told to fail" in outcome.problem
    assert outcome.owner == "collegium-toy"
    assert len(starts(tmp_path)) == 1


def test_a_worker_that_dies_is_started_again_and_told(executor, tmp_path):
    events = []
    outcome = executor().execute(job(tmp_path, "die-once"), events.append)
    assert outcome.status == "completed", outcome.problem
    told = [event.text for event in events if "started again" in event.text]
    assert len(told) == 1
    assert "killed by signal SIGKILL" in told[0]
    assert told[0].endswith("started again from its last checkpoint (1 of 2)")
    assert len(starts(tmp_path)) == 2


def test_a_worker_that_always_dies_is_given_up_after_the_retries(executor, tmp_path):
    outcome = executor(retries=1).execute(job(tmp_path, "die"), lambda _: None)
    assert (outcome.status, outcome.kind) == ("failed", "WorkerDied")
    assert outcome.problem.startswith("after 2 starts its worker was killed by signal SIGKILL")
    assert len(starts(tmp_path)) == 2


def test_the_process_of_the_task_may_be_killed_too(executor, tmp_path):
    outcomes, events = [], []
    holder = threading.Thread(
        target=lambda: outcomes.append(executor().execute(job(tmp_path, "wait-once"), events.append))
    )
    holder.start()
    assert eventually((tmp_path / "waits").exists)
    [first] = starts(tmp_path)
    parent = int((Path("/proc") / str(first["pid"]) / "stat").read_text().rpartition(") ")[2].split()[1])
    os.kill(parent, signal.SIGKILL)
    holder.join()
    assert outcomes[0].status == "completed", outcomes[0].problem
    assert any("its node or process died" in event.text for event in events)
    assert not (Path("/proc") / str(first["pid"])).exists()


def test_a_node_that_goes_is_replaced_by_another(executor, start_node, address, tmp_path):
    outcomes, events = [], []
    arguments = ("--address", address, "--num-cpus=1", "--object-store-memory=100000000", '--resources={"spot": 1}')
    lost = start_node(*arguments)
    wanting = executor(custom={"spot": 1}, gpus=0, autoscaling=True)
    holder = threading.Thread(
        target=lambda: outcomes.append(wanting.execute(job(tmp_path, "wait-once"), events.append))
    )
    holder.start()
    assert eventually((tmp_path / "waits").exists)
    lost.kill()
    assert eventually(lambda: any("started again" in event.text for event in events))
    assert eventually(lambda: processes_with(str(tmp_path)) == [])
    spare = start_node(*arguments)
    holder.join()
    assert outcomes[0].status == "completed", outcomes[0].problem
    nodes = [start["node"] for start in starts(tmp_path)]
    assert len(nodes) == 2
    spare.stop()


def test_a_node_that_does_not_share_the_runs_folder_is_named(executor, start_node, address, tmp_path):
    probe = subprocess.run([*UNSHARED, "true"], env={**os.environ, "HIDDEN": str(tmp_path)}, capture_output=True)
    if probe.returncode:
        pytest.skip("no mount namespaces here, and so no second file system")
    hidden = ("env", f"HIDDEN={tmp_path}", *UNSHARED)
    node = start_node("--address", address, "--num-cpus=1", '--resources={"far": 1}', under=hidden)
    outcome = executor(custom={"far": 1}, gpus=0, autoscaling=True).execute(job(tmp_path, "finish"), lambda _: None)
    assert (outcome.status, outcome.kind) == ("failed", "StoreError")
    assert f"does not see the run's folder {str(tmp_path)!r}" in outcome.problem
    assert not (tmp_path / "starts").exists()
    node.stop()


def test_what_no_node_offers_is_refused_with_what_there_is(executor, tmp_path):
    outcome = executor(per_stage={"probe": {"gpus": 8}}).execute(job(tmp_path, "finish"), lambda _: None)
    assert (outcome.status, outcome.owner) == ("failed", "collegium-ray")
    assert "stage 'probe' asks for 1 CPU, 8 GPU, and no node of the cluster has that" in outcome.problem
    assert "4 CPU" in outcome.problem


@pytest.mark.parametrize(
    ("options", "fields", "message"),
    [
        ({"pass_env": ["NOT_SET_ANYWHERE"]}, {}, "pass_env names 'NOT_SET_ANYWHERE', which is not set"),
        (
            {},
            {"launch": {"strategy": "ddp", "nodes": 2}},
            "launched over 2 nodes; the executor ray runs a stage on one",
        ),
    ],
)
def test_what_cannot_be_done_is_a_failed_outcome(executor, tmp_path, options, fields, message):
    outcome = executor(**options).execute(job(tmp_path, "finish", **fields), lambda _: None)
    assert outcome.status == "failed"
    assert message in outcome.problem


def test_closing_stops_the_workers_with_all_that_they_started(executor, tmp_path):
    outcomes = []
    closing = executor(gpus=0)
    folders = [tmp_path / "a", tmp_path / "b"]
    holders = [
        threading.Thread(target=lambda f=folder: outcomes.append(closing.execute(job(f, "wait"), lambda _: None)))
        for folder in folders
    ]
    for holder in holders:
        holder.start()
    assert eventually(lambda: all((folder / "waits").exists() for folder in folders))
    closing.close()
    for holder in holders:
        holder.join()
    assert [outcome.kind for outcome in outcomes] == [STOPPED, STOPPED]
    assert processes_with(str(tmp_path)) == []
    assert closing.execute(job(tmp_path / "c", "finish"), lambda _: None).kind == STOPPED


def test_closing_leaves_no_rank_of_a_stage_of_several(executor, tmp_path):
    outcomes, closing = [], executor(gpus=0)
    several = job(tmp_path / "s", "idle", launch=TWO_RANKS)
    holder = threading.Thread(target=lambda: outcomes.append(closing.execute(several, lambda _: None)))
    holder.start()
    assert eventually(lambda: both_idle(tmp_path / "s"), 120)
    closing.close()
    holder.join()
    assert [outcome.kind for outcome in outcomes] == [STOPPED]
    assert eventually(lambda: processes_with(str(tmp_path / "s")) == []), processes_with(str(tmp_path / "s"))
    pids = [start["pid"] for start in starts(tmp_path / "s")]
    assert eventually(lambda: not any((Path("/proc") / str(pid)).exists() for pid in pids))


@pytest.mark.parametrize(("do", "launch"), [("wait", {}), ("idle", TWO_RANKS)])
def test_a_run_that_is_killed_leaves_no_process_on_the_cluster(address, environment, tmp_path, do, launch):
    (tmp_path / "job.json").write_text(job(tmp_path / "s", do, launch=launch).model_dump_json())
    code = (
        "import sys\nfrom pathlib import Path\nfrom collegium.job import StageJob\n"
        "from collegium_ray.executor import RayExecutor\n"
        "job = StageJob.model_validate_json(Path(sys.argv[1]).read_text())\n"
        "RayExecutor({'address': sys.argv[2], 'gpus': 0}).execute(job, lambda event: None)"
    )
    run = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "job.json"), address], env=environment)
    assert eventually(lambda: both_idle(tmp_path / "s") if launch else (tmp_path / "s/waits").exists(), 120)
    run.kill()
    run.wait()
    assert eventually(lambda: processes_with(str(tmp_path / "s")) == []), processes_with(str(tmp_path / "s"))


def test_a_cluster_that_is_not_there_is_a_clear_failure():
    with pytest.raises(PluginError, match="cannot be reached") as caught:
        _ = RayExecutor({"address": "127.0.0.1:1"}).slots
    assert "the Ray cluster at address '127.0.0.1:1'" in str(caught.value)
    assert "address: local" in str(caught.value)
