"""Bad input: one clear message with file, line and owner, exit code 2, and nothing lost."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.e2e.conftest import RECIPE, statuses

pytestmark = pytest.mark.e2e


@pytest.fixture
def folder(finished, tmp_path):
    """A copy of the finished run's store, so that a stage that fails is the only one that runs."""
    shutil.copytree(finished / "store", tmp_path / "store")
    return tmp_path


def write(folder: Path, *replacements: tuple[str, str]) -> None:
    text = RECIPE
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    (folder / "toy.yaml").write_text(text)


def fails(cli, folder: Path, *overrides: str) -> str:
    done = cli("run", "toy.yaml", "--out", "run", "--store", "store", *overrides, cwd=folder)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return " ".join(done.stderr.split())


def line_of(text: str, word: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), 1) if word in line)


def test_an_unknown_key_names_file_line_owner_and_the_nearest_key(cli, folder):
    write(folder, ("steps: 8, batch", "stps: 8, batch"))
    text = fails(cli, folder)
    assert f"toy.yaml:{line_of(RECIPE, '  sft:')}: stages.sft.stps: unknown key 'stps' [collegium-sft]" in text
    assert "did you mean 'steps'?" in text
    assert not (folder / "run").exists()


def test_an_unroutable_domain_is_refused_before_anything_runs(cli, folder):
    write(folder, ("teachers: {from: teacher}", "teachers: {copy: {stage: teacher-copy}}"))
    text = fails(cli, folder)
    assert "student: domain 'reverse' goes to reverse, which is no teacher of this stage; its teachers: copy" in text
    assert f"toy.yaml:{line_of(RECIPE, '  student:')}" in text
    assert not (folder / "run").exists()


def test_a_model_folder_that_is_none_is_refused_before_anything_runs(cli, folder):
    (folder / "junk").mkdir()
    write(folder, ("seed: 3", "seed: 3\nmodels: {outside: {path: ./junk}}"), ("init_from: base", "init_from: outside"))
    text = fails(cli, folder)
    assert "toy.yaml:4: models.outside.path: 'junk' is not a model checkpoint: config.json is missing" in text
    assert not (folder / "run").exists()


def test_cut_weights_are_refused_before_anything_runs(cli, folder, finished):
    shutil.copytree(finished / "run/stages/sft/model", folder / "cut")
    weights = folder / "cut/model.safetensors"
    content = weights.read_bytes()
    weights.unlink()
    weights.write_bytes(content[:-100])
    write(folder, ("seed: 3", "seed: 3\nmodels: {outside: {path: ./cut}}"), ("init_from: base", "init_from: outside"))
    assert "its header promises" in fails(cli, folder)


def test_a_teacher_with_another_tokenizer_is_refused_before_its_stage_starts(cli, folder, finished):
    shutil.copytree(finished / "run/stages/teacher-copy/model", folder / "other")
    tokenizer = folder / "other/tokenizer.json"
    content = json.loads(tokenizer.read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    tokenizer.unlink()
    tokenizer.write_text(json.dumps(content))
    write(folder, ("{from: teacher}", "{from: teacher, copy: {use: checkpoint, path: ./other}}"))
    text = fails(cli, folder)
    assert "student: teacher 'copy' has another tokenizer than the student: 2 tokens differ" in text
    assert f"toy.yaml:{line_of(RECIPE, '  student:')}" in text
    assert statuses(folder / "run")["teacher-reverse"] == "cached"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "demos.jsonl"),
        ("", "demos.jsonl"),
        ('{"prompt": "#abc=", "completion": "abc"}\n{"prompt": "#ab', "demos.jsonl:2"),
        ('{"prompt": "#abc="}\n', "demos.jsonl:1"),
        ('{"prompt": "#abc=", "completion": "xyz"}\n', "its characters 'xyz' are not in"),
    ],
    ids=["missing", "empty", "truncated", "without a completion", "outside the alphabet"],
)
def test_a_bad_data_file_names_the_file_and_line(cli, folder, content, words):
    if content is not None:
        (folder / "demos.jsonl").write_text(content)
    write(folder, ("init_from: base, steps: 8", "init_from: base, data: ./demos.jsonl, steps: 8"))
    text = fails(cli, folder)
    assert words in text
    assert "toy.yaml:" in text


def test_a_loss_that_is_not_finite_stops_keeps_the_checkpoint_and_names_the_batch(cli, folder):
    write(folder, ("steps: 8, batch: 16, lr: 3.0e-3", "steps: 8, batch: 16, lr: 1.0e+30, max_grad_norm: 1.0e+30"))
    text = fails(cli, folder, "checkpoint_every=1")
    assert "stage 'sft' failed: PolicyError" in text
    assert "nan" in text
    assert "the last good checkpoint, after step 1, is kept" in text
    assert list((folder / "run/stages/sft/checkpoints").iterdir())
    bad = json.loads((folder / "run/stages/sft/bad_batch.json").read_text())
    assert bad["tasks"]
    assert f"step {bad['step']}" in text
    report = json.loads((folder / "run/report.json").read_text())
    assert report["status"] == "failed"
    assert statuses(folder / "run")["base"] == "cached"
    assert "collegium resume run" in text


def test_a_resume_after_packages_changed_is_refused(cli, folder, finished, environment):
    write(folder)
    shutil.copytree(finished / "run", folder / "run")
    lock = json.loads((folder / "run/recipe.lock.json").read_text())
    lock["distributions"]["collegium-grpo"]["version"] = "0.0.9"
    (folder / "run/recipe.lock.json").write_text(json.dumps(lock))
    done = cli("resume", "run", "--store", "store", cwd=folder)
    assert done.returncode == 2
    assert "package collegium-grpo: 0.0.9 -> 0.1.0" in done.stderr


def test_locked_refuses_drift_and_passes_without(cli, folder, finished):
    write(folder)
    lock = finished / "run/recipe.lock.json"
    text = fails(cli, folder, "--locked", str(lock), "seed=4")
    assert "recipe: its resolved text differs" in text
    assert not (folder / "run").exists()
    done = cli("run", "toy.yaml", "--out", "run", "--store", "store", "--locked", lock, cwd=folder)
    assert done.returncode == 0, done.stderr


def test_a_teacher_that_is_no_better_is_not_admitted(cli, folder):
    write(folder, ("admission: {margin: -1.0}", "admission: {margin: 0.99}"))
    text = fails(cli, folder)
    assert "student: teacher 'copy' scores" in text
    assert "expected at least 0.99 more" in text


def test_a_worker_that_is_killed_is_a_failed_stage_that_resume_mends(cli, folder, environment):
    write(folder, ("seed: 3", "seed: 9"), ("steps: 6\n", "steps: 500\n"))
    import os
    import signal

    from tests.e2e.test_run_and_resume import start, wait_for_steps, workers_of

    process = start(folder, environment)
    wait_for_steps(folder / "run", "base", 3, process)
    os.kill(workers_of(folder / "run")[0], signal.SIGKILL)
    assert process.wait() == 2
    report = json.loads((folder / "run/report.json").read_text())
    assert "its worker was killed by signal SIGKILL" in report["problem"]


@pytest.mark.parametrize("name", ["report.json", "recipe.lock.json"])
@pytest.mark.parametrize("content", ['{"a": 1}', '{"domains": null, "stages": null}', "[" * 100_000, "{"])
def test_a_foreign_run_folder_is_one_clear_error_of_diff(cli, folder, finished, name, content):
    shutil.copytree(finished / "run", folder / "run")
    (folder / "run" / name).write_text(content)
    done = cli("diff", finished / "run", "run", cwd=folder)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
