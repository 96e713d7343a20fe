"""The store and the run directory: nothing half made, nothing silently wrong, nothing lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from collegium.errors import StoreError
from collegium.running.directory import RunDirectory
from collegium.store import Store, read_json, write_json

OUTCOME = {"metrics": {"loss": 1.5}, "rollouts": 3}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "made" / "model"
    folder.mkdir(parents=True)
    (folder / "weights.bin").write_bytes(b"weights")
    return folder


def test_what_is_put_is_taken_with_its_outcome(store, model, tmp_path):
    store.put("f1", {"model": model}, OUTCOME)
    assert store.has("f1")
    assert store.take("f1", tmp_path / "out") == OUTCOME
    assert (tmp_path / "out/model/weights.bin").read_bytes() == b"weights"


def test_taking_does_not_copy_the_bytes(store, model, tmp_path):
    store.put("f1", {"model": model}, OUTCOME)
    store.take("f1", tmp_path / "out")
    assert os.stat(tmp_path / "out/model/weights.bin").st_ino == os.stat(model / "weights.bin").st_ino


def test_a_damaged_artifact_is_refused_and_set_aside(store, model, tmp_path):
    store.put("f1", {"model": model}, OUTCOME)
    (model / "weights.bin").write_bytes(b"wrong!!")  # the same inode as the stored file
    with pytest.raises(StoreError, match=r"damaged at 'model/weights.bin'"):
        store.take("f1", tmp_path / "out")
    assert not store.has("f1")
    assert (tmp_path / "store/damaged-f1/model/weights.bin").exists()


def test_a_truncated_artifact_is_refused(store, model, tmp_path):
    store.put("f1", {"model": model}, OUTCOME)
    (tmp_path / "store/objects/f1/model/weights.bin").unlink()
    with pytest.raises(StoreError, match="damaged"):
        store.take("f1", tmp_path / "out")


@pytest.mark.parametrize("content", ["{", "{}", "[]", '{"files": [], "outcome": {}}'])
def test_an_artifact_with_a_damaged_manifest_counts_as_absent_and_can_be_made_anew(store, model, tmp_path, content):
    store.put("f1", {"model": model}, OUTCOME)
    (store.root / "objects/f1/manifest.json").unlink()
    (store.root / "objects/f1/manifest.json").write_text(content)
    assert not store.has("f1")
    store.put("f1", {"model": model}, OUTCOME)
    assert store.take("f1", tmp_path / "out") == OUTCOME
    assert (store.root / "damaged-f1").exists()


@pytest.mark.parametrize("content", ["{", "[]", '{"scores": {"a": "x"}}', '{"scores": []}', "{}"])
def test_a_damaged_score_counts_as_absent(store, content):
    (store.root / "scores/f1.json").write_text(content)
    assert store.scores("f1") is None


def test_a_folder_holds_an_artifact_only_if_every_file_is_unchanged(store, model, tmp_path):
    store.put("f1", {"model": model}, OUTCOME)
    store.take("f1", tmp_path / "out")
    assert store.holds("f1", tmp_path / "out")
    path = tmp_path / "out/model/weights.bin"
    path.unlink()
    assert not store.holds("f1", tmp_path / "out")
    path.write_bytes(b"other")
    assert not store.holds("f1", tmp_path / "out")


def test_a_torn_status_counts_as_none(tmp_path):
    directory = RunDirectory.create(tmp_path / "run", {})
    (directory.stage("sft")).mkdir()
    (directory.stage("sft") / "status.json").write_text('{"stat')
    assert directory.status("sft") is None


def test_an_artifact_appears_whole_or_not_at_all(store, model, monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("collegium.store.write_json", full)
    with pytest.raises(StoreError, match="No space left") as caught:
        store.put("f1", {"model": model}, OUTCOME)
    assert "free some space" in str(caught.value)
    assert not store.has("f1")
    assert list((store.root / "objects").iterdir()) == []


def test_json_is_replaced_only_when_it_is_whole(tmp_path):
    path = tmp_path / "status.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    with pytest.raises(ValueError, match="nan"):
        write_json(path, {"a": float("nan")})
    assert read_json(path) == {"a": 1}
    assert [item.name for item in tmp_path.iterdir()] == ["status.json"]


def test_a_store_that_cannot_be_made_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot make the store"):
        Store(tmp_path / "file" / "store")


def test_an_earlier_run_moves_aside_whole(tmp_path):
    first = RunDirectory.create(tmp_path / "run", {"name": "one"})
    write_json(first.path / "report.json", {"one": 1})
    first.release()
    second = RunDirectory.create(tmp_path / "run", {"name": "two"})
    assert (second.path / "recipe.yaml").read_text() == "name: two\n"
    assert json.loads((second.path / "previous/1/report.json").read_text()) == {"one": 1}


@pytest.mark.parametrize("name", ["recipe.yaml", "report.json"])
def test_a_folder_with_a_file_of_the_same_name_that_no_run_made_is_refused(tmp_path, name):
    (tmp_path / name).write_text("mine")
    for _ in range(2):
        with pytest.raises(StoreError, match="holds other files"):
            RunDirectory.create(tmp_path, {})
    assert (tmp_path / name).read_text() == "mine"
    assert [item.name for item in tmp_path.iterdir()] == [name]


def test_a_folder_with_other_things_is_refused(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/thesis.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"holds other files \(thesis.txt\)"):
        RunDirectory.create(tmp_path / "run", {})
    assert (tmp_path / "run/thesis.txt").read_text() == "mine"


def test_a_folder_that_another_process_runs_in_is_refused(tmp_path):
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom collegium.running.directory import RunDirectory\n"
        "held = RunDirectory.create(Path(sys.argv[1]), {})\nprint('held', flush=True)\ntime.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    try:
        with pytest.raises(StoreError, match="another process is running"):
            RunDirectory.create(tmp_path / "run", {})
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    RunDirectory.create(tmp_path / "run", {})  # a killed holder holds nothing


def test_no_run_is_a_clear_error(tmp_path):
    with pytest.raises(StoreError, match="is no run directory"):
        RunDirectory.open(tmp_path)


def test_active_seconds_leave_out_the_time_between_a_kill_and_the_resume(tmp_path):
    directory = RunDirectory.create(tmp_path / "run", {})
    times = [(100, "run-started"), (104, "stage-running"), (900, "run-resumed"), (903, "run-completed")]
    lines = [json.dumps({"time": time, "event": event}) for time, event in times]
    (directory.path / "events.jsonl").write_text("\n".join(lines) + '\n{"time": 99')
    assert directory.active_seconds() == 7.0
