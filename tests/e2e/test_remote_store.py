"""A store at a URL, through the command line: shared by runs, remembered for a resume, whole after an outage."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.e2e.conftest import RECIPE, numbers, statuses

pytestmark = pytest.mark.e2e

SHORT = RECIPE.partition("  teacher:")[0]


@pytest.fixture(scope="module")
def first(tmp_path_factory, cli):
    """A folder with a finished run of the recipe's first two stages, and the URL of its store."""
    folder = tmp_path_factory.mktemp("remote")
    (folder / "toy.yaml").write_text(SHORT)
    url = f"file://{folder}/far"
    done = cli("run", "toy.yaml", "--out", "run", "--store", url, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, url


def test_another_folder_takes_every_stage_from_the_url_with_the_same_numbers(first, cli, tmp_path):
    folder, url = first
    (tmp_path / "toy.yaml").write_text(SHORT)
    done = cli("run", "toy.yaml", "--out", "run", "--store", url, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert set(statuses(tmp_path / "run").values()) == {"cached"}
    assert numbers(tmp_path / "run") == numbers(folder / "run")
    assert sorted(path.name for path in (tmp_path / ".collegium").iterdir()) == ["cache"]


def test_a_plan_reads_the_url_and_writes_nothing(first, cli, tmp_path):
    _, url = first
    (tmp_path / "toy.yaml").write_text(SHORT)
    plan = json.loads(cli("plan", "toy.yaml", "--store", url, "--json", cwd=tmp_path).stdout)
    assert all(stage["cached"] for stage in plan["stages"])
    assert [path.name for path in tmp_path.iterdir()] == ["toy.yaml"]


def test_a_resume_goes_on_with_the_url_that_the_run_was_given(first, cli, tmp_path):
    folder, url = first
    (tmp_path / "toy.yaml").write_text(SHORT)
    shutil.copytree(folder / "run", tmp_path / "run")
    assert (tmp_path / "run/.store").read_text().strip() == url
    (tmp_path / "run/stages/sft/model/model.safetensors").unlink()
    done = cli("resume", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run/stages/sft/model/model.safetensors").is_file()
    assert not (tmp_path / ".collegium/store").exists()
    assert numbers(tmp_path / "run") == numbers(folder / "run")


def test_a_store_that_cannot_be_reached_stops_the_run_before_anything_is_made(cli, tmp_path):
    (tmp_path / "toy.yaml").write_text(SHORT)
    (tmp_path / "far").write_text("a file where the store's folder should be")
    url = f"file://{tmp_path}/far"
    done = cli("run", "toy.yaml", "--out", "run", "--store", url, cwd=tmp_path)
    assert done.returncode == 2
    assert f"the store '{url}' cannot be reached" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_what_could_not_be_uploaded_is_uploaded_by_a_resume_and_not_made_again(first, cli, tmp_path):
    folder, _ = first
    (tmp_path / "toy.yaml").write_text(SHORT)
    (tmp_path / "far").mkdir()
    (tmp_path / "far/objects").symlink_to(tmp_path / "gone")  # can be looked into, and not be written to
    done = cli("run", "toy.yaml", "--out", "run", "--store", f"file://{tmp_path}/far", cwd=tmp_path)
    assert done.returncode == 2
    assert "is not there" in " ".join(done.stderr.split())
    before = (tmp_path / "run/stages/base/metrics.jsonl").read_bytes()
    (tmp_path / "gone").mkdir()
    done = cli("resume", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "base: step" not in done.stdout
    assert (tmp_path / "run/stages/base/metrics.jsonl").read_bytes() == before
    assert len([path for path in (tmp_path / "gone").iterdir() if (path / "manifest.json").is_file()]) == 2
    assert numbers(tmp_path / "run") == numbers(folder / "run")


@pytest.mark.parametrize("how", ["option", "environment"])
def test_a_password_in_the_url_is_refused_and_written_nowhere(cli, tmp_path, environment, how, monkeypatch):
    (tmp_path / "toy.yaml").write_text(SHORT)
    url = "sftp://me:hunter2@host/prefix"
    arguments = ["--store", url] if how == "option" else []
    monkeypatch.setitem(environment, "COLLEGIUM_STORE", url if how == "environment" else "")
    done = cli("run", "toy.yaml", "--out", "run", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "the store's URL has '@' in it" in done.stderr
    assert "hunter2" not in done.stdout + done.stderr
    assert not any(b"hunter2" in path.read_bytes() for path in Path(tmp_path).rglob("*") if path.is_file())
