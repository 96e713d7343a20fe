"""Several ranks: the numbers of one process, whatever is spread, and one clear end when a rank fails or dies."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from collegium.errors import ConfigError, PolicyError
from collegium.job import StageJob
from collegium.launch_config import LaunchConfig
from collegium.testing.rank_jobs import Fault, run_jobs_on_ranks, seen_by
from collegium.testing.ranks import run_toy_ranks
from collegium.testing.stages import journal_of, run_toy, toy_model
from collegium.training.distributed import World, end_world, start_world
from collegium.training.fully_shard import FullyShard
from collegium.training.optimizer_config import OptimizerConfig

pytestmark = pytest.mark.slow

KINDS = ("sft", "grpo", "mopd", "dpo", "reward-model")
SPLIT = {
    "sampled-token": ("mopd", {"loss": "sampled-token"}),
    "idle-teachers": ("mopd", {"prompts": 1}),
    "idle-teachers-sampled": ("mopd", {"prompts": 1, "loss": "sampled-token"}),
    "refreshed": ("grpo", {"refresh_reference_every": 1}),
}
"""Jobs whose reference or teachers are split over the ranks, some of which have no row of a teacher."""


def two(strategy: str, **more: object) -> LaunchConfig:
    return LaunchConfig.model_validate({"strategy": strategy, "processes": 2, **more})


@pytest.fixture(scope="module")
def jobs_of(rank_lab) -> Callable[[str], dict[str, StageJob]]:
    """Return what two ranks made, in one start for each strategy, of every kind of job and of each option."""
    done: dict[str, dict[str, StageJob]] = {}

    def jobs(strategy: str) -> dict[str, StageJob]:
        if strategy in done:
            return done[strategy]
        launch = two(strategy)
        made = {kind: rank_lab.job(kind, f"{strategy}-{kind}", launch) for kind in KINDS}
        made["untied"] = rank_lab.job("grpo", f"{strategy}-untied", launch, head="untied")
        made["bfloat16"] = rank_lab.job("sft", f"{strategy}-bfloat16", launch, precision="bfloat16")
        made["sampled"] = rank_lab.job("grpo", f"{strategy}-sampled", launch, precision="bfloat16")
        recompute = two(strategy, gradient_checkpointing=True)
        made["recomputed"] = rank_lab.job("sft", f"{strategy}-recomputed", recompute)
        made["recomputed-rows"] = rank_lab.job("grpo", f"{strategy}-recomputed-rows", recompute)
        before = rank_lab.alone("sft") if strategy == "ddp" else jobs("ddp")["sft"]
        made["resumed"] = rank_lab.stopped(before, f"{strategy}-resumed", launch)
        low = rank_lab.alone("sft", precision="bfloat16") if strategy == "ddp" else jobs("ddp")["bfloat16"]
        made["resumed-bfloat16"] = rank_lab.stopped(low, f"{strategy}-resumed-bfloat16", launch)
        if strategy == "fsdp2":
            made["offloaded"] = rank_lab.job("sft", "offloaded", two(strategy, offload="parameters"))
            made |= {name: rank_lab.job(kind, f"split-{name}", launch, **more) for name, (kind, more) in SPLIT.items()}
        done[strategy] = made
        outcome = run_jobs_on_ranks(list(made.values()))
        assert outcome.status == "completed", outcome.problem
        return made

    return jobs


strategies = pytest.mark.parametrize("strategy", ["ddp", "fsdp2"])


@strategies
@pytest.mark.parametrize("kind", KINDS)
def test_two_ranks_come_to_the_numbers_of_one_process(jobs_of, rank_lab, strategy, kind):
    rank_lab.assert_same(jobs_of(strategy)[kind], rank_lab.alone(kind))


@strategies
def test_a_head_of_its_own_is_trained_alike(jobs_of, rank_lab, strategy):
    rank_lab.assert_same(jobs_of(strategy)["untied"], rank_lab.alone("grpo", head="untied"))


@strategies
def test_recomputed_layers_run_again_and_change_nothing(jobs_of, rank_lab, strategy):
    jobs = jobs_of(strategy)
    rank_lab.assert_same(jobs["recomputed"], rank_lab.alone("sft"))
    rank_lab.assert_same(jobs["recomputed-rows"], rank_lab.alone("grpo"))
    assert seen_by(jobs["recomputed"])["calls"] == 2 * seen_by(jobs["sft"])["calls"]


@strategies
def test_bfloat16_computes_in_it_and_keeps_float32(jobs_of, rank_lab, strategy):
    jobs = jobs_of(strategy)
    assert seen_by(jobs["sft"])["dtype"] == "torch.float32"
    for name in ("bfloat16", "sampled"):  # the second shook hands with its engine
        assert seen_by(jobs[name])["dtype"] == "torch.bfloat16"
    rank_lab.assert_same(jobs["bfloat16"], rank_lab.alone("sft"), tolerance=0.05)
    trainer = rank_lab.checkpoint(jobs["bfloat16"])["trainer"]
    states = [state for each in trainer["optimizer"].values() for state in each.values()]
    assert {weight.dtype for weight in [*trainer["model"].values(), *states]} == {torch.float32}
    assert any(not torch.equal(weight, weight.bfloat16().float()) for weight in trainer["model"].values())


@strategies
def test_a_checkpoint_goes_on_under_another_strategy(jobs_of, rank_lab, strategy):
    jobs = jobs_of(strategy)
    rank_lab.assert_same(jobs["resumed"], rank_lab.alone("sft"))
    rank_lab.assert_same(jobs["resumed-bfloat16"], rank_lab.alone("sft", precision="bfloat16"), tolerance=0.02)
    assert rank_lab.checkpoint(jobs["sft"])["job"] == rank_lab.checkpoint(rank_lab.alone("sft"))["job"]


def test_fsdp2_splits_the_weights_and_offload_changes_no_number(jobs_of, rank_lab):
    jobs = jobs_of("fsdp2")
    count = sum(weight.numel() for weight in toy_model(3).parameters())
    assert seen_by(jobs_of("ddp")["sft"])["weights"] == count
    assert count / 2 <= seen_by(jobs["sft"])["weights"] < 0.6 * count
    rank_lab.assert_same(jobs["offloaded"], rank_lab.alone("sft"))


@pytest.mark.parametrize("name", SPLIT)
def test_split_references_and_teachers_score_as_whole_ones(jobs_of, rank_lab, name):
    kind, options = SPLIT[name]
    rank_lab.assert_same(jobs_of("fsdp2")[name], rank_lab.alone(kind, **options))


# Ends


def processes_of(folder: str) -> list[str]:
    """Return the command lines of running processes that name a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode()
        except OSError:  # it ended
            continue
        found += [line] if folder in line else []
    return found


def test_a_rank_that_raises_ends_the_stage_with_its_error(rank_lab):
    job = rank_lab.job("sft", "raises", two("ddp"))
    outcome = run_jobs_on_ranks([job], Fault(rank=1, step=2, kind="raise"))
    assert outcome.status == "failed"
    assert outcome.kind == "RuntimeError"
    assert outcome.problem == "RuntimeError: rank 1 fails in step 2"
    assert not (Path(job.directory) / "output").exists()
    assert processes_of(job.directory) == []


def test_a_rank_that_is_killed_ends_the_stage_which_then_goes_on_in_one_process(rank_lab):
    job = rank_lab.job("sft", "killed", two("fsdp2"))
    outcome = run_jobs_on_ranks([job], Fault(rank=1, step=4, kind="kill"))
    assert outcome.status == "failed"
    assert outcome.kind == "RankDied"
    assert "of 2 ranks these ended without a word: 1;" in outcome.problem
    assert processes_of(job.directory) == []
    assert rank_lab.checkpoint(job)["step"] == 3
    alone = job.model_copy(update={"launch": LaunchConfig()})
    assert run_toy(alone).status == "completed"
    rank_lab.assert_same(alone, rank_lab.alone("sft"))


def test_a_job_with_ranks_is_started_and_told_of_as_any_other(rank_lab):
    job, events = rank_lab.job("sft", "told", two("ddp")), []
    outcome = run_toy_ranks(job, events)
    assert outcome.status == "completed", outcome.problem
    assert [event.step for event in events if event.kind == "step"] == [1, 2, 3, 4]
    rank_lab.assert_same(job, rank_lab.alone("sft"))
    assert outcome.metrics["loss"] == journal_of(job)[-1]["loss"]
    assert not list(Path(job.directory).glob("ranks/*/*"))


# Wrong launches


def test_a_job_with_ranks_that_no_launcher_started_is_refused(monkeypatch, rank_lab):
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(PolicyError, match=r"needs its 2 ranks started, and this process is none"):
        start_world(two("ddp"))


def test_fewer_ranks_than_the_launch_says_are_refused(monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name, value in {
        "RANK": 0,
        "WORLD_SIZE": 1,
        "LOCAL_RANK": 0,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }.items():
        monkeypatch.setitem(os.environ, name, str(value))
    try:
        with pytest.raises(PolicyError, match=r"1 ranks run, the recipe's launch says 2"):
            start_world(two("ddp"))
    finally:
        end_world()
    assert not dist.is_initialized()


def test_weights_that_fsdp2_left_whole_are_refused(monkeypatch):
    world = World(launch=two("fsdp2"))
    monkeypatch.setattr(FullyShard, "_shard", lambda self, policy, *_: policy.forward_module)
    with pytest.raises(PolicyError, match=r"fsdp2 left \d+ weights whole, such as 'model.embed_tokens.weight'"):
        FullyShard(toy_model(0), OptimizerConfig(), world)


def test_a_missing_compiler_is_told_before_the_first_step(monkeypatch):
    def broken(*args: object, **options: object) -> Callable[..., object]:
        raise RuntimeError("InvalidCxxCompiler: no working C++ compiler")

    monkeypatch.setattr(torch, "compile", broken)
    from collegium.training.layers import compile_layers

    with pytest.raises(ConfigError, match=r"launch.compile needs a working compiler for cpu(.|\n)*C\+\+ compiler"):
        compile_layers(toy_model(0).model)
