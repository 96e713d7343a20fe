"""Adapters: what is trained, what the stage leaves, and that a stage with one goes on where it was killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from collegium.errors import ConfigError, RecipeError
from collegium.job import StageJob
from collegium.launch_config import LaunchConfig
from collegium.planning import make_plan
from collegium.plugins import Registry
from collegium.recipe import load_recipe
from collegium.testing.rank_jobs import run_jobs_on_ranks
from collegium.testing.stages import Use, journal_of, run_and_kill, run_toy, toy_domain, toy_job, toy_model, weights_of
from collegium.training import lora_config
from collegium.training.initialise import initialise
from collegium.training.language_model import LanguageModel
from collegium.training.model_spec import ModelSpec
from collegium.training.optimizer_config import OptimizerConfig
from collegium.training.reference import Reference
from collegium.training.trainer import Trainer

RECIPES = Path(__file__).parents[3] / "recipes"
needs_peft = pytest.mark.engines
LORA = {"rank": 4, "alpha": 8.0}
TOKENS = torch.tensor([[5, 6, 7, 8, 9, 10], [8, 7, 6, 5, 4, 3]])


def config_of(**adapter: Any) -> OptimizerConfig:
    return OptimizerConfig(lr=1e-2, adapter={**LORA, **adapter})


def loss_of(policy: LanguageModel) -> torch.Tensor:
    trained = torch.ones_like(TOKENS, dtype=torch.bool)
    trained[:, 0] = False
    return -policy.trained_logprobs(TOKENS, torch.ones_like(TOKENS), None, trained).mean()


def trained_policy(policy: LanguageModel, steps: int = 3, **adapter: Any) -> tuple[LanguageModel, Trainer]:
    trainer = Trainer(policy, config_of(**adapter), steps)
    for _ in range(steps):
        trainer.step([lambda: loss_of(policy)])
    return policy, trainer


def logits_of(policy: LanguageModel) -> torch.Tensor:
    with torch.no_grad():
        return policy.model(input_ids=TOKENS).logits


# Without peft


def test_without_peft_the_options_are_refused_with_the_line_to_install(monkeypatch):
    monkeypatch.setattr(lora_config, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"needs peft, which is not installed: pip install 'collegium\[lora\]'"):
        config_of()


def test_without_bitsandbytes_only_quantised_adapters_are_refused(monkeypatch):
    monkeypatch.setattr(lora_config, "find_spec", lambda name: None if name == "bitsandbytes" else object())
    assert config_of().adapter is not None
    with pytest.raises(ValueError, match=r"needs bitsandbytes, .* pip install 'collegium\[qlora\]'"):
        config_of(quantise="nf4")


@pytest.mark.parametrize("strategy", ["fsdp2", "zero1", "zero2", "zero3"])
def test_a_quantised_adapter_that_a_strategy_cannot_spread_is_told_before_anything_runs(monkeypatch, strategy):
    monkeypatch.setattr(lora_config, "find_spec", lambda name: object())
    config = config_of(quantise="nf4")
    problem = config.launch_problem(LaunchConfig(strategy=strategy, processes=2))
    assert problem is not None
    assert strategy in problem
    assert config.launch_problem(LaunchConfig(strategy="ddp", processes=2)) is None
    assert config_of().launch_problem(LaunchConfig(strategy=strategy, processes=2)) is None


def plan_problem(*overrides: str) -> str:
    with pytest.raises(RecipeError) as found:
        make_plan(load_recipe(RECIPES / "quickstart.yaml", overrides), Registry.discover())
    return str(found.value)


def test_a_plan_reports_a_missing_library_and_a_launch_that_cannot_work(monkeypatch):
    monkeypatch.setattr(lora_config, "find_spec", lambda name: None)
    problem = plan_problem("stages.sft.adapter={rank: 8}")
    assert "stages.sft.adapter: an adapter needs peft" in problem
    assert problem.count("error") + problem.count("needs peft") == 1
    monkeypatch.setattr(lora_config, "find_spec", lambda name: object())
    fsdp2 = "stages.sft.launch={strategy: fsdp2, processes: 2}"
    assert "stages.sft.launch: adapter.quantise nf4" in plan_problem("stages.sft.adapter={quantise: nf4}", fsdp2)
    zero3 = "stages.sft.launch={strategy: zero3, processes: 2, compile: true}"
    assert "stages.sft.launch: launch.compile cannot trace zero3" in plan_problem(zero3)


# What is trained, and what comes of it


@needs_peft
@pytest.mark.parametrize("sizes", [{}, {"tie_word_embeddings": False}], ids=["tied", "untied"])
def test_only_the_adapter_gets_gradients(sizes):
    policy = toy_model(0, **sizes)
    before = policy.state_dict()
    Trainer(policy, config_of(), 1)
    loss_of(policy).backward()
    with_gradient = {name for name, weight in policy.model.named_parameters() if weight.grad is not None}
    assert with_gradient
    assert all(".lora_A." in name or ".lora_B." in name for name in with_gradient)
    assert with_gradient == set(policy.checkpoint())
    assert before.keys() == policy.state_dict().keys()


@needs_peft
def test_a_fresh_adapter_changes_nothing():
    policy = toy_model(0)
    before, weights = logits_of(policy), policy.state_dict()
    Trainer(policy, config_of(), 1)
    assert torch.equal(logits_of(policy), before)
    assert all(torch.equal(weight, weights[name]) for name, weight in policy.state_dict().items())


@needs_peft
def test_merged_weights_are_the_base_plus_the_scaled_product():
    base = toy_model(0).state_dict()
    policy, _ = trained_policy(toy_model(0))
    own = dict(policy.model.named_parameters())
    merged = policy.state_dict()
    for name in base:
        layer = name.removesuffix(".weight")
        if f"{layer}.lora_A.default.weight" not in own:
            assert torch.equal(merged[name], base[name]), name
            continue
        up, down = own[f"{layer}.lora_B.default.weight"], own[f"{layer}.lora_A.default.weight"]
        expected = base[name] + LORA["alpha"] / LORA["rank"] * (up @ down)
        assert not torch.equal(merged[name], base[name])
        torch.testing.assert_close(merged[name], expected, atol=1e-6, rtol=0)


@needs_peft
@pytest.mark.parametrize("architecture", ["llama", "gpt2", "qwen3"])
def test_the_saved_model_is_plain_and_computes_what_the_trained_one_does(tmp_path, architecture):
    spec = {"architecture": architecture, "sizes": {}, "tokenizer": {"characters": "abcdefghijklmnopqrstuvwxyz "}}
    if architecture == "gpt2":
        spec["sizes"] = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64}
    else:
        spec["sizes"] = {
            "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
            "num_key_value_heads": 2, "max_position_embeddings": 64,
        }  # fmt: skip
    policy, _ = trained_policy(initialise(ModelSpec(**spec), 0))
    policy.save(tmp_path / "model")
    assert not list((tmp_path / "model").glob("adapter*"))
    plain = LanguageModel.load(tmp_path / "model")
    assert not [name for name, _ in plain.model.named_parameters() if "lora" in name or "base_layer" in name]
    torch.testing.assert_close(logits_of(plain), logits_of(policy), atol=2e-6, rtol=0)
    torch.testing.assert_close(logits_of(policy.whole()), logits_of(policy), atol=2e-6, rtol=0)


@needs_peft
def test_the_copy_that_engines_get_follows_the_training():
    policy, trainer = trained_policy(toy_model(0), 1)
    first = logits_of(policy.whole())
    trainer.step([lambda: loss_of(policy)])
    second = logits_of(policy.whole())
    assert not torch.allclose(first, second, atol=1e-4)
    torch.testing.assert_close(second, logits_of(policy), atol=2e-6, rtol=0)


@needs_peft
def test_a_reference_that_follows_the_policy_takes_its_merged_weights(tmp_path):
    toy_model(0).save(tmp_path / "base")
    policy, _ = trained_policy(LanguageModel.load(tmp_path / "base"))
    reference = Reference(str(tmp_path / "base"), policy, refresh_every=2)
    torch.testing.assert_close(logits_of(reference.model), logits_of(toy_model(0)))
    reference.before_step(3)
    torch.testing.assert_close(logits_of(reference.model), logits_of(policy), atol=2e-6, rtol=0)


@needs_peft
def test_targets_choose_the_layers_and_an_unknown_one_is_refused_with_those_there_are():
    policy, _ = trained_policy(toy_model(0), targets=("q_proj", "v_proj"))
    assert {name.split(".lora_")[0].rpartition(".")[2] for name in policy.checkpoint()} == {"q_proj", "v_proj"}
    with pytest.raises(ConfigError, match=r"wq: the decoder has no such linear layer(.|\n)*choose among down_proj,"):
        trained_policy(toy_model(0), targets=("wq",))


@needs_peft
def test_the_adapter_starts_alike_whatever_was_drawn_before():
    made = []
    for drawn in (0, 100):
        torch.manual_seed(7)
        torch.rand(drawn)
        policy = toy_model(0)
        Trainer(policy, config_of(), 1)
        made.append(policy.checkpoint())
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])


@needs_peft
def test_a_checkpoint_holds_the_adapter_alone_and_training_goes_on_from_it_exactly():
    policy, trainer = trained_policy(toy_model(0), 2)
    state = trainer.state_dict()
    assert all("lora" in name for name in state["model"])
    assert state["optimizer"].keys() == state["model"].keys()
    other = toy_model(0)
    resumed = Trainer(other, config_of(), 3)
    resumed.load_state_dict(state)
    ours, theirs = (one.step([lambda policy=one.policy: loss_of(policy)]) for one in (trainer, resumed))
    assert ours == theirs
    assert all(torch.equal(weight, other.state_dict()[name]) for name, weight in policy.state_dict().items())


@needs_peft
def test_a_checkpoint_without_the_trained_weights_is_refused():
    _, trainer = trained_policy(toy_model(0), 1)
    state = trainer.state_dict()
    state["model"].popitem()
    with pytest.raises(Exception, match="lacks 1 trained weights"):
        trainer.load_state_dict(state)


# QLoRA


@pytest.fixture
def bitsandbytes():
    return pytest.importorskip("bitsandbytes", reason="QLoRA needs bitsandbytes")


def check_quantised(device: str, tmp_path: Path) -> None:
    """Train with four-bit frozen weights, and compare the model that is left with the one that was trained."""
    policy, trainer = trained_policy(toy_model(0, hidden_size=64).to(device), quantise="nf4")
    packed = [module for module in policy.model.modules() if type(module).__name__ == "Linear4bit"]
    assert len(packed) == 14
    assert all(module.weight.dtype == torch.uint8 for module in packed)
    base, merged = toy_model(0, hidden_size=64).state_dict(), policy.state_dict()
    assert merged.keys() == base.keys()
    policy.save(tmp_path / "model")
    plain = LanguageModel.load(tmp_path / "model", device)
    torch.testing.assert_close(logits_of(plain), logits_of(policy), atol=1e-5, rtol=0)
    state = trainer.state_dict()
    other = toy_model(0, hidden_size=64).to(device)
    resumed = Trainer(other, config_of(quantise="nf4"), 4)
    resumed.load_state_dict(state)
    assert trainer.step([lambda: loss_of(policy)]) == resumed.step([lambda: loss_of(other)])


@needs_peft
def test_a_quantised_base_is_packed_frozen_and_left_as_it_was_computed_with(bitsandbytes, tmp_path):
    check_quantised("cpu", tmp_path)


@needs_peft
@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
def test_a_quantised_base_works_on_an_accelerator(bitsandbytes, tmp_path):
    check_quantised("cuda", tmp_path)


@needs_peft
def test_a_quantised_base_computes_in_the_precision_of_the_stage(bitsandbytes):
    policy = toy_model(0, hidden_size=64)
    Trainer(policy, OptimizerConfig(precision="bfloat16", adapter={**LORA, "quantise": "nf4"}), 1)
    packed = next(module for module in policy.model.modules() if type(module).__name__ == "Linear4bit")
    assert packed.compute_dtype == torch.bfloat16


@needs_peft
def test_layers_that_cannot_be_quantised_are_named(bitsandbytes):
    spec = {"architecture": "gpt2", "tokenizer": {"characters": "abcdefgh "}}
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64}
    with pytest.raises(ConfigError, match="Conv1D: no nf4"):
        trained_policy(initialise(ModelSpec(**spec, sizes=sizes), 0), quantise="nf4")


# Stages


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """A model that copies and reverses words, badly."""
    folder = tmp_path_factory.mktemp("base")
    toy_model(3).save(folder / "start")
    domains = [toy_domain("copy", right=0.5), toy_domain("reverse", right=0.5)]
    options = {"steps": 100, "batch": 32, "lr": 3e-3, "layout": "length-grouped"}
    job = toy_job("collegium-sft/sft", options, folder / "sft", domains=domains, inputs={"init_from": folder / "start"})
    assert run_toy(job).status == "completed"
    return folder / "sft" / "output" / "model"


STAGES: dict[str, dict[str, Any]] = {
    "collegium-sft/sft": {"steps": 4, "batch": 16, "micro_batch": 4, "row_tokens": 24},
    "collegium-grpo/grpo": {
        "steps": 4, "prompts": 4, "group": 4, "minibatches": 2, "sampling": {"max_tokens": 6},
        "loss": {"use": "collegium-grpo/clipped", "kl_coefficient": 0.1},
    },
    "collegium-mopd/mopd": {"steps": 4, "prompts": 8, "sampling": {"max_tokens": 6}},
}  # fmt: skip


def stage_job(use: str, base: Path, folder: Path, **adapter: Any) -> StageJob:
    options = {**STAGES[use], "lr": 1e-2, "adapter": {**LORA, **adapter}}
    teachers = {}
    if use.endswith("mopd"):
        toy_model(9).save(folder.parent / "teacher")
        teacher = Use(use="collegium/checkpoint", options={"path": str(folder.parent / "teacher")})
        teachers = {"copy": teacher, "reverse": teacher}
    domains = [toy_domain("copy"), toy_domain("reverse")]
    more: dict[str, Any] = {"teachers": teachers, "id": "stage", "checkpoint_every": 1}
    return toy_job(use, options, folder, domains=domains, inputs={"init_from": base}, **more)


@needs_peft
@pytest.mark.slow
@pytest.mark.parametrize("use", STAGES)
def test_a_stage_with_an_adapter_that_is_killed_and_resumed_ends_with_the_numbers_of_one_that_was_not(
    use, base, tmp_path
):
    whole, killed = (stage_job(use, base, tmp_path / name) for name in ("whole", "killed"))
    outcome = run_toy(whole)
    assert outcome.status == "completed", outcome.problem
    assert run_and_kill(killed, 2) == -9
    assert run_toy(killed).status == "completed"
    assert journal_of(killed) == journal_of(whole)
    ours, theirs = weights_of(killed), weights_of(whole)
    assert ours.keys() == LanguageModel.load(base).model.state_dict().keys()
    assert all(torch.equal(weight, theirs[name]) for name, weight in ours.items())
    start = LanguageModel.load(base).model.state_dict()
    assert any(not torch.equal(weight, start[name]) for name, weight in ours.items())


@needs_peft
@pytest.mark.slow
def test_two_ranks_train_an_adapter_as_one_process_does(rank_lab, bitsandbytes):
    launch = LaunchConfig(strategy="ddp", processes=2)
    options = {"adapter": LORA, "lr": 1e-2}
    four_bit = {"adapter": {**LORA, "quantise": "nf4"}, "lr": 1e-2}
    jobs = {kind: rank_lab.job(kind, f"ddp-lora-{kind}", launch, **options) for kind in ("sft", "mopd", "reward-model")}
    jobs["nf4"] = rank_lab.job("sft", "ddp-lora-nf4", launch, **four_bit)
    outcome = run_jobs_on_ranks(list(jobs.values()))
    assert outcome.status == "completed", outcome.problem
    for kind in ("sft", "mopd", "reward-model"):
        rank_lab.assert_same(jobs[kind], rank_lab.alone(kind, **options))
    rank_lab.assert_same(jobs["nf4"], rank_lab.alone("sft", **four_bit))


@needs_peft
def test_a_reward_models_new_head_is_trained_beside_the_adapter(rank_lab):
    job = rank_lab.alone("reward-model", adapter=LORA, lr=1e-2)
    trained = rank_lab.checkpoint(job)["trainer"]["model"]
    assert "score.weight" in trained
    assert {name for name in trained if "lora" not in name} == {"score.weight"}
    assert not [name for name in rank_lab.weights(job) if "lora" in name or "base_layer" in name]
