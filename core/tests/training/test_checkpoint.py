"""Checkpoints and the journal: whole or not there."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from collegium import PolicyError, StoreError
from collegium.training.checkpoint import Checkpoints, random_state, set_random_state, write_aside
from collegium.training.journal import Journal


def test_the_newest_is_kept_and_read_back(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    assert checkpoints.latest() is None
    for step in (5, 10, 15):
        checkpoints.save(step, {"step": step, "weights": torch.full((2,), float(step))})
    found = checkpoints.latest() or {}
    assert found["step"] == 15
    assert found["weights"].tolist() == [15.0, 15.0]
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-00000010", "step-00000015"]


def test_one_that_was_cut_short_is_never_seen(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(5, {"step": 5})
    half = tmp_path / "step-00000010.part"
    half.mkdir()
    (half / "state.pt").write_bytes(b"half")
    assert checkpoints.latest() == {"step": 5}
    checkpoints.save(10, {"step": 10})
    assert checkpoints.latest() == {"step": 10}
    assert not half.exists()


def test_a_failing_write_leaves_what_was_there(tmp_path: Path):
    final = tmp_path / "model"
    write_aside(final, lambda folder: (folder / "file").write_text("old"))

    def fail(folder: Path) -> None:
        (folder / "file").write_text("new")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_aside(final, fail)
    assert (final / "file").read_text() == "old"


def test_a_damaged_file_is_an_error_that_names_it(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(5, {"step": 5})
    (tmp_path / "step-00000005" / "state.pt").write_bytes(b"rubbish")
    with pytest.raises(PolicyError, match=r"step-00000005.*cannot be read"):
        checkpoints.latest()


def test_a_damaged_newest_one_is_passed_over_for_the_one_before(tmp_path: Path):
    checkpoints = Checkpoints(tmp_path)
    for step in (5, 10):
        checkpoints.save(step, {"step": step})
    (tmp_path / "step-00000010" / "state.pt").write_bytes(b"rubbish")
    assert checkpoints.latest() == {"step": 5}


def test_state_that_could_not_be_read_back_is_refused_when_written(tmp_path: Path):
    with pytest.raises(PolicyError, match=r"entry states\.sampler\.seen is a set"):
        Checkpoints(tmp_path).save(1, {"states": {"sampler": {"seen": {1, 2}}}})
    assert Checkpoints(tmp_path).latest() is None


def test_the_random_state_goes_through_a_checkpoint(tmp_path: Path):
    torch.manual_seed(3)
    random.seed(4)
    Checkpoints(tmp_path).save(1, random_state())
    expected = (torch.rand(3).tolist(), random.random())
    set_random_state(Checkpoints(tmp_path).latest() or {})
    assert (torch.rand(3).tolist(), random.random()) == expected


def test_a_resumed_journal_forgets_later_steps_and_half_lines(tmp_path: Path):
    journal = Journal(tmp_path)
    for step in range(1, 5):
        journal.metrics(step, {"loss": step / 2})
        journal.samples(step, [{"completion": "é"}])
    with journal.metrics_path.open("a") as file:
        file.write('{"step": 2, "lo')
    journal.cut(3)
    assert journal.last_metrics() == {"loss": 1.5}
    assert len(journal.metrics_path.read_text().splitlines()) == 3
    assert journal.samples_path.read_text().splitlines()[-1] == '{"step": 3, "completion": "\\u00e9"}'


def test_few_samples_are_written_down_spread_over_the_batch(tmp_path: Path):
    journal = Journal(tmp_path)
    journal.samples(1, [{"row": row} for row in range(100)])
    lines = journal.samples_path.read_text().splitlines()
    assert len(lines) <= 16
    assert '"row": 0' in lines[0]
    assert '"row": 98' in lines[-1]


def test_a_full_disk_is_told_as_one_and_nothing_is_left_of_the_attempt(tmp_path):
    import resource

    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"step": 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(StoreError, match="the disk is full"):
            checkpoints.save(2, {"step": 2, "weights": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    assert checkpoints.latest() == {"step": 1}
