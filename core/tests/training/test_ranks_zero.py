"""DeepSpeed ZeRO on two ranks: the numbers of one process, and checkpoints that other strategies go on from."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from collegium.errors import PluginNotFound
from collegium.job import StageJob
from collegium.launch_config import LaunchConfig
from collegium.testing.rank_jobs import run_jobs_on_ranks, seen_by
from collegium.testing.stages import run_toy, toy_model
from collegium.training import zero
from collegium.training.distributed import World
from collegium.training.optimizer_config import OptimizerConfig

KINDS = ("sft", "grpo", "mopd", "dpo", "reward-model")
LORA = {"adapter": {"rank": 4, "alpha": 8.0}, "lr": 1e-2}
needs_deepspeed = [pytest.mark.engines, pytest.mark.slow]


def two(strategy: str, **more: object) -> LaunchConfig:
    return LaunchConfig.model_validate({"strategy": strategy, "processes": 2, **more})


@pytest.fixture(scope="module")
def jobs_of(rank_lab) -> Callable[[str], dict[str, StageJob]]:
    """Return what two ranks made, in one start for each strategy."""
    done: dict[str, dict[str, StageJob]] = {}

    def jobs(strategy: str) -> dict[str, StageJob]:
        if strategy in done:
            return done[strategy]
        launch = two(strategy)
        made = {kind: rank_lab.job(kind, f"{strategy}-{kind}", launch) for kind in KINDS}
        if strategy != "zero1":
            made |= extras(strategy, launch)
        if strategy == "zero3":  # from fsdp2, which is started first
            made["resumed"] = rank_lab.stopped(jobs("fsdp2")["sft"], "zero3-resumed", launch)
        done[strategy] = made
        outcome = run_jobs_on_ranks(list(made.values()))
        assert outcome.status == "completed", outcome.problem
        return made

    def extras(strategy: str, launch: LaunchConfig) -> dict[str, StageJob]:
        made = {
            "untied": rank_lab.job("grpo", f"{strategy}-untied", launch, head="untied"),
            "lora": rank_lab.job("sft", f"{strategy}-lora", launch, **LORA),
            "lora-grpo": rank_lab.job("grpo", f"{strategy}-lora-grpo", launch, **LORA),
            "recomputed": rank_lab.job("sft", f"{strategy}-recomputed", two(strategy, gradient_checkpointing=True)),
            "bfloat16": rank_lab.job("sft", f"{strategy}-bfloat16", launch, precision="bfloat16"),
            "sampled": rank_lab.job("grpo", f"{strategy}-sampled", launch, precision="bfloat16"),
            "lora-bfloat16": rank_lab.job("sft", f"{strategy}-lora-low", launch, precision="bfloat16", **LORA),
            "offloaded": rank_lab.job("sft", f"{strategy}-offloaded", two(strategy, offload="optimizer")),
        }
        if strategy != "zero2":
            made["offloaded-weights"] = rank_lab.job("sft", f"{strategy}-waiting", two(strategy, offload="parameters"))
        if strategy == "fsdp2":
            del made["offloaded"]
        if strategy != "zero3":
            made["compiled"] = rank_lab.job("sft", f"{strategy}-compiled", two(strategy, compile=True))
        return made

    return jobs


strategies = pytest.mark.parametrize("strategy", ["zero1", "zero2", "zero3"])
split = pytest.mark.parametrize("strategy", ["fsdp2", "zero2", "zero3"])


class TestOnRanks:
    pytestmark = needs_deepspeed

    @strategies
    @pytest.mark.parametrize("kind", KINDS)
    def test_two_ranks_come_to_the_numbers_of_one_process(self, jobs_of, rank_lab, strategy, kind):
        rank_lab.assert_same(jobs_of(strategy)[kind], rank_lab.alone(kind))

    @split
    def test_a_head_of_its_own_is_trained_alike(self, jobs_of, rank_lab, strategy):
        rank_lab.assert_same(jobs_of(strategy)["untied"], rank_lab.alone("grpo", head="untied"))

    @split
    def test_an_adapter_is_trained_alike_and_leaves_a_plain_model(self, jobs_of, rank_lab, strategy):
        jobs = jobs_of(strategy)
        rank_lab.assert_same(jobs["lora"], rank_lab.alone("sft", **LORA))
        rank_lab.assert_same(jobs["lora-grpo"], rank_lab.alone("grpo", **LORA))
        assert all("lora" in name for name in rank_lab.checkpoint(jobs["lora"])["trainer"]["model"])

    @split
    def test_bfloat16_computes_in_it_and_keeps_float32(self, jobs_of, rank_lab, strategy):
        jobs = jobs_of(strategy)
        assert seen_by(jobs["sft"])["dtype"] == "torch.float32"
        for name in ("bfloat16", "sampled"):
            assert seen_by(jobs[name])["dtype"] == "torch.bfloat16"
        rank_lab.assert_same(jobs["bfloat16"], rank_lab.alone("sft"), tolerance=0.05)
        trainer = rank_lab.checkpoint(jobs["bfloat16"])["trainer"]
        states = [state for each in trainer["optimizer"].values() for state in each.values()]
        assert {weight.dtype for weight in [*trainer["model"].values(), *states]} == {torch.float32}
        assert any(not torch.equal(weight, weight.bfloat16().float()) for weight in trainer["model"].values())

    @split
    def test_what_an_adapter_leaves_frozen_is_not_rounded_by_bfloat16(self, jobs_of, rank_lab, strategy):
        rank_lab.assert_same(jobs_of(strategy)["lora-bfloat16"], rank_lab.alone("sft", **LORA), tolerance=0.05)
        saved = rank_lab.weights(jobs_of(strategy)["lora-bfloat16"])
        start = rank_lab.base_weights()
        assert torch.equal(saved["model.embed_tokens.weight"], start["model.embed_tokens.weight"])

    @split
    def test_recomputed_layers_run_again_and_change_nothing(self, jobs_of, rank_lab, strategy):
        jobs = jobs_of(strategy)
        rank_lab.assert_same(jobs["recomputed"], rank_lab.alone("sft"))
        assert seen_by(jobs["recomputed"])["calls"] == 2 * seen_by(jobs["sft"])["calls"]

    @split
    def test_offload_changes_no_number(self, jobs_of, rank_lab, strategy):
        jobs = jobs_of(strategy)
        for name in jobs.keys() & {"offloaded", "offloaded-weights"}:
            rank_lab.assert_same(jobs[name], rank_lab.alone("sft"))

    @pytest.mark.parametrize("strategy", ["fsdp2", "zero2"])
    def test_compiled_layers_change_no_number(self, jobs_of, rank_lab, strategy):
        rank_lab.assert_same(jobs_of(strategy)["compiled"], rank_lab.alone("sft"))

    def test_zero3_splits_the_weights_and_zero2_does_not(self, jobs_of):
        count = sum(weight.numel() for weight in toy_model(3).parameters())
        assert seen_by(jobs_of("zero2")["sft"])["weights"] == count
        assert count / 2 <= seen_by(jobs_of("zero3")["sft"])["weights"] < 0.6 * count

    def test_zero3_goes_on_from_fsdp2(self, jobs_of, rank_lab):
        rank_lab.assert_same(jobs_of("zero3")["resumed"], rank_lab.alone("sft"))

    @pytest.mark.parametrize("name", ["sft", "lora", "bfloat16"])
    def test_one_process_goes_on_from_zero2(self, jobs_of, rank_lab, name):
        options = {"sft": {}, "lora": LORA, "bfloat16": {"precision": "bfloat16"}}[name]
        resumed = rank_lab.stopped(jobs_of("zero2")[name], f"single-from-zero2-{name}", LaunchConfig())
        assert run_toy(resumed).status == "completed"
        rank_lab.assert_same(resumed, rank_lab.alone("sft", **options), tolerance=0.02 if name == "bfloat16" else 2e-5)

    def test_fsdp2_goes_on_from_zero3(self, jobs_of, rank_lab):
        names = ("sft", "lora")
        resumed = [rank_lab.stopped(jobs_of("zero3")[name], f"fsdp2-from-zero3-{name}", two("fsdp2")) for name in names]
        outcome = run_jobs_on_ranks(resumed)
        assert outcome.status == "completed", outcome.problem
        for job, options in zip(resumed, ({}, LORA), strict=True):
            rank_lab.assert_same(job, rank_lab.alone("sft", **options))


# Without ranks


def test_without_deepspeed_the_strategy_says_what_to_install(monkeypatch):
    monkeypatch.setattr(zero, "find_spec", lambda name: None)
    with pytest.raises(PluginNotFound, match=r"'zero2' needs DeepSpeed(.|\n)*pip install .*collegium\[deepspeed\]"):
        zero.Zero(toy_model(0), OptimizerConfig(), World(launch=two("zero2")))


def test_each_environment_has_its_own_folder_of_compiled_helpers(monkeypatch):
    folders = []
    for prefix in ("/one", "/two", "/one"):
        monkeypatch.delenv("TORCH_EXTENSIONS_DIR", raising=False)
        monkeypatch.setattr(zero.sys, "prefix", prefix)
        zero.use_own_extensions()
        folders.append(os.environ["TORCH_EXTENSIONS_DIR"])
    assert folders[0] != folders[1]
    assert folders[0] == folders[2]


def test_the_lock_of_a_build_that_died_is_removed_and_a_fresh_one_kept(monkeypatch, tmp_path: Path):
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    old, fresh = tmp_path / "one" / "lock", tmp_path / "two" / "lock"
    for lock in (old, fresh):
        lock.parent.mkdir()
        lock.touch()
    then = time.time() - 2 * zero.STALE_S
    os.utime(old, (then, then))
    zero.use_own_extensions()
    assert not old.exists()
    assert fresh.exists()
