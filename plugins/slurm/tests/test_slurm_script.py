"""Options, sbatch's arguments, and the script; what needs no cluster."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from collegium import PluginError, RecipeError
from collegium.job import StageJob
from collegium.planning import make_plan
from collegium.plugins.registry import Registry
from collegium.recipe import load_recipe
from collegium_slurm.config import Request, SlurmConfig
from collegium_slurm.executor import SlurmExecutor
from collegium_slurm.script import arguments, script

FOLDER = Path("/shared/run 1/stages/sft/slurm/job-x")

RECIPE = """\
collegium: 1
name: slurm
executor: {use: slurm, extra: [--job-nam=x]}
stages:
  base: {use: pretrain, text: words.txt, steps: 1, model: {tokenizer: {characters: ab}}}
"""


def job(**fields):
    base = {"id": "sft", "use": "a/b", "options": {}, "seed": 1, "domains": {}, "evaluate_on": {}, "directory": "d"}
    return StageJob(**{**base, **fields})


def test_the_executor_is_discovered():
    entry = Registry.discover().find("executor", "slurm")
    assert entry.id == "collegium-slurm/slurm"
    assert entry.load() is SlurmExecutor


def test_without_slurm_a_run_says_so_before_its_first_stage(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PluginError, match="sbatch, squeue, scancel not found on PATH") as caught:
        _ = SlurmExecutor().slots
    assert "login node" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"extra": ["constraint=a100"]}, "no argument of sbatch"),
        ({"extra": ["--output=x"]}, "set by the executor"),
        ({"extra": ["-N2"]}, "set by the executor"),
        ({"extra": ["--job-nam=x"]}, r"could stand for --job-name, which is set by the executor"),
        ({"extra": ["--nt=4"]}, r"could stand for --ntasks or --ntasks-per-node, which is set by the executor"),
        ({"extra": ["--node=2"]}, "could stand for --nodes"),
        ({"extra": ["--wai"]}, "could stand for --wait"),
        ({"extra": ["--open-mode=truncate"]}, "is set by the executor"),
        ({"extra": ["-c8"]}, r"set by the executor \(cpus-per-task\)"),
        ({"extra": ["-Mother"]}, r"set by the executor \(clusters\)"),
        ({"extra": ["-vN4"]}, "no argument of sbatch"),
        ({"extra": ["-v"]}, "no argument of sbatch"),
        ({"extra": ["-p"]}, "no argument of sbatch"),
        ({"extra": ["-p gpu"]}, "no argument of sbatch"),
        ({"extra": ["-"]}, "no argument of sbatch"),
        ({"extra": ["--"]}, "no argument of sbatch"),
        ({"extra": ["--=x"]}, "no argument of sbatch"),
        ({"extra": ["--constraint a100"]}, "no argument of sbatch"),
        ({"extra": ["--comment=a\n#SBATCH --x"]}, "control character"),
        ({"extra": ["--comment=a\0b"]}, "control character"),
        ({"extra": ["--comment=a\rb"]}, "control character"),
        ({"per_stage": {"a": {"extra": ["--comment=a\x1bb"]}}}, "control character"),
        ({"partition": "gpu\n"}, "control character"),
        ({"account": "me\0"}, "control character"),
        ({"per_stage": {"a": {"partition": "g\tpu"}}}, "control character"),
        ({"python": "/usr/bin/python\n"}, "control character"),
        ({"setup": ["module load\0 cuda"]}, "control character"),
        ({"setup": ["module load cuda\nrm x"]}, "an item of its own"),
        ({"time_minutes": 0}, "greater than or equal to 1"),
        ({"per_stage": {"a": {"gpus": 1}}}, "Extra inputs"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options, message):
    with pytest.raises(ValidationError, match=message):
        SlurmConfig(**options)


def test_an_option_that_is_refused_stops_the_plan_with_its_place(tmp_path):
    (tmp_path / "words.txt").write_text("ab")
    (tmp_path / "recipe.yaml").write_text(RECIPE.replace("words.txt", str(tmp_path / "words.txt")))
    with pytest.raises(RecipeError) as caught:
        make_plan(load_recipe(tmp_path / "recipe.yaml"), Registry.discover())
    assert "recipe.yaml:3: executor.extra" in str(caught.value)
    assert "'--job-nam=x' could stand for --job-name, which is set by the executor" in str(caught.value)


def test_other_arguments_are_passed_on():
    extra = [
        "--exclusive", "--nodelist=n1", "--export-file=x", "--comment=für eine Prüfung", "--mail-user=a@b.c",
        "--gres=gpu:a100:2", "-wn1", "-pgpu", "-t1-00:00", "--wait-all-nodes=1",
    ]  # fmt: skip
    assert SlurmConfig(extra=extra, setup=["\tmodule load cuda"]).extra == extra


def test_a_stages_own_entry_goes_over_patterns_and_extra_arguments_add_up():
    config = SlurmConfig(
        partition="gpu", extra=["--qos=low"],
        per_stage={"teacher-math": {"gpus_per_node": 8}, "teacher-*": {"gpus_per_node": 4, "extra": ["--constraint=a"]}},
    )  # fmt: skip
    assert config.of_stage("sft") == Request(partition="gpu", extra=["--qos=low"])
    expected = Request(partition="gpu", gpus_per_node=8, extra=["--qos=low", "--constraint=a"])
    assert config.of_stage("teacher-math") == expected


def test_arguments_say_what_the_job_needs():
    spread = job(launch={"strategy": "fsdp2", "processes": 8, "nodes": 2}, threads=3)
    request = Request(partition="gpu", account="me", time_minutes=90, gpus_per_node=8, memory_gb=100, extra=["-wn1"])
    assert arguments(spread, request, "name", FOLDER) == [
        "--job-name=name", "--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=24", "--no-requeue",
        f"--chdir={os.getcwd()}", f"--output={FOLDER}/log.txt", "--open-mode=append", "--partition=gpu", "--account=me",
        "--time=90", "--gpus-per-node=8", "--mem=100G", "-wn1",
    ]  # fmt: skip
    alone = arguments(spread.model_copy(update={"train": False}), Request(), "name", FOLDER)
    assert "--nodes=1" in alone  # a job that only evaluates needs one node
    assert "--cpus-per-task=3" in alone


@pytest.mark.parametrize("nodes", [1, 2])
def test_the_script_is_valid_shell_and_quotes_its_paths(nodes, tmp_path):
    launch = {"strategy": "ddp", "nodes": nodes} if nodes > 1 else {}
    text = script(job(launch=launch), SlurmConfig(setup=["module load cuda"]), FOLDER, FOLDER.parent / "followed.txt")
    assert "\nmodule load cuda\n" in text
    assert f"'{FOLDER}/job.json'" in text or f"'\"'\"'{FOLDER}/job.json'\"'\"'" in text
    assert ("srun" in text) == (nodes > 1)
    assert subprocess.run(["bash", "-n"], input=text, text=True, check=False).returncode == 0


def test_a_node_that_does_not_see_the_folder_exits_with_the_code_that_says_so():
    text = script(job(), SlurmConfig(abandoned_minutes=0), FOLDER, FOLDER / "followed.txt")
    assert subprocess.run(["bash"], input=text, text=True, check=False).returncode == 66


def test_a_job_whose_run_is_gone_cancels_itself(tmp_path):
    (tmp_path / "scancel").write_text('#!/bin/sh\necho "$@" > "$CANCELLED"; kill $PPID\n')
    (tmp_path / "scancel").chmod(0o755)
    (tmp_path / "sleep").write_text("#!/bin/sh\nexit 0\n")
    (tmp_path / "sleep").chmod(0o755)
    lease = tmp_path / "followed.txt"
    lease.touch()
    os.utime(lease, (0, 0))
    text = script(job(), SlurmConfig(abandoned_minutes=5), tmp_path, lease)
    watch = next(line for line in text.splitlines() if line.startswith("( while"))
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_JOB_ID": "7", "CANCELLED": str(tmp_path / "cancelled")}
    subprocess.run(["bash"], input=f"{watch}\nwait\n", text=True, env=environment, check=False)
    assert (tmp_path / "cancelled").read_text() == "7\n"
    assert sys.executable in text
