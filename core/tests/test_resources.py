"""What a plan says that each stage needs: formulas by hand, and the words and numbers of the command."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from collegium.errors import RecipeError
from collegium.launch_config import LaunchConfig
from collegium.planning import make_plan, memory
from collegium.planning.estimate import estimate
from collegium.planning.resources import StageResources, launcher_of
from collegium.planning.shapes import Unknown, shape_of_config, shape_of_folder, vocabulary_of
from collegium.plugins import Registry
from collegium.recipe import load_recipe
from collegium.recipe.shape import ModelShape
from collegium.training.model_spec import TokenizerSpec

SMALL = ModelShape(layers=2, hidden=8, heads=2, kv_heads=1, head_dim=4, intermediate=16, vocabulary=10, tied=True)
"""A layer: 2*8*(8+4) attention, 3*8*16 MLP, 2*8 norms = 592; all: 2*592 + 10*8 + 8 = 1272."""
QWEN = dict(
    layers=28, hidden=2048, heads=16, kv_heads=8, head_dim=128, intermediate=6144, vocabulary=151936, qk_norm=True
)
BILLION = ModelShape(layers=10, hidden=1000, heads=10, intermediate=4000, vocabulary=1000, parameters=7_500_000_000)
"""The model of ZeRO's figure 1."""

PLUGIN = """
from collegium import component, hookimpl

@hookimpl
def register_stages():
    return [
        component("make", "acme_train.none:X", "Make a model.", config="acme_train.configs:MakeConfig"),
        component("tune", "acme_train.none:X", "Supervised.", config="acme_train.configs:TuneConfig"),
        component("roll", "acme_train.none:X", "Rollouts.", config="acme_train.configs:RollConfig"),
        component("step", "acme_train.none:X", "Steps.", config="acme_train.configs:StepConfig"),
        component("odd", "acme_train.none:X", "Neither.", config="acme_train.configs:OddConfig"),
    ]

@hookimpl
def register_engines():
    return [
        component("served", "acme_train.none:X", "Elsewhere.", config="acme_train.configs:ServedConfig"),
        component("own", "acme_train.none:X", "With own weights.", config="acme_train.configs:OwnConfig"),
        component("strange", "acme_train.none:X", "Unheard of.", config="acme_train.configs:StrangeConfig"),
    ]

@hookimpl
def register_teachers():
    return [component("far", "acme_train.none:X", "Elsewhere.", config="acme_train.configs:ServedConfig"),
            component("near", "acme_train.none:X", "Unheard of.", config="acme_train.configs:StrangeConfig")]

@hookimpl
def register_losses():
    return [component("whole", "acme_train.none:X", "Over the vocabulary.", config="acme_train.configs:WholeConfig"),
            component("held", "acme_train.none:X", "With a reference.", config="acme_train.configs:HeldConfig")]
"""
CONFIGS = """
from collegium import Config, StageConfig, Use, UseLoss, UseRouter
from collegium.training.model_spec import ModelSpec
from collegium.training.optimizer_config import OptimizerConfig
from collegium.training.rollout_config import RolloutConfig
from collegium.training.supervised_config import SupervisedConfig
from typing import ClassVar, Literal

class MakeConfig(SupervisedConfig):
    requires: ClassVar = frozenset()
    accepts: ClassVar = frozenset({"init_from"})
    model: ModelSpec = ModelSpec()

class TuneConfig(SupervisedConfig):
    pass

class RollConfig(RolloutConfig):
    accepts: ClassVar = frozenset({"reference", "teachers"})
    loss: UseLoss | None = None
    router: UseRouter | None = None

class StepConfig(OptimizerConfig):
    pass

class OddConfig(StageConfig):
    pass

class ServedConfig(Config):
    url: str | None = None

class OwnConfig(Config):
    dtype: str = "auto"
    gpu_memory_utilization: float = 0.5
    kv_cache_gb: float | None = None
    tensor_parallel_size: int = 1
    max_model_len: int | None = None
    sleep_between: bool = False

class StrangeConfig(Config):
    pass

class WholeConfig(Config):
    chunk: int = 4

class HeldConfig(Config):
    kl_coefficient: float = 0.1
"""
RECIPE = """\
collegium: 1
name: sized
models:
  hub: {path: acme/model-7b}
  sized: {path: acme/model-1b, shape: {layers: 2, hidden: 8, heads: 2, kv_heads: 1, head_dim: 4, intermediate: 16, vocabulary: 10, context: 32, tied: true}}
domains:
  math: {task: toy, verifier: exact}
stages:
  base: {use: acme-train/make, batch: 8, row_tokens: 4, micro_batch: 2, model: {architecture: llama, sizes: {hidden_size: 8, intermediate_size: 16, num_hidden_layers: 2, num_attention_heads: 2, head_dim: 4, num_key_value_heads: 1, max_position_embeddings: 32, tie_word_embeddings: true}, tokenizer: {characters: abcdefgh}}}
  sft: {use: acme-train/tune, init_from: base, batch: 8, row_tokens: 4, micro_batch: 2}
  rl: {use: roll, init_from: sft, prompts: 4, group: 2, micro_batch: 2, sampling: {max_tokens: 16}}
"""


@pytest.fixture
def plan(acme_lab, make_plugin, recipe_file):
    """Return a function that plans the recipe with changes and estimates its stages."""
    make_plugin("acme-train", plugin=PLUGIN, configs=CONFIGS)

    def made(*overrides: str, extra: str = "") -> dict[str, StageResources]:
        path = recipe_file(text=RECIPE + extra, name="sized.yaml")
        return estimate(make_plan(load_recipe(path, overrides), Registry.discover()))

    return made


# Shapes


def test_the_weights_of_a_small_model_by_hand():
    assert SMALL.layer_parameters == 592
    assert SMALL.count == 1272
    assert SMALL.model_copy(update={"tied": False}).count == 1272 + 80


def test_the_weights_of_a_published_model_are_those_of_its_card():
    assert ModelShape(**QWEN, tied=True).count == 1_720_574_976
    assert ModelShape(**QWEN, tied=False).count == 2_031_739_904


def test_experts_count_all_and_a_token_meets_some():
    moe = SMALL.model_copy(update={"experts": 4})
    assert moe.layer_parameters == 592 + 3 * (3 * 8 * 16) + 4 * 8
    assert moe.active_intermediate is None
    met = moe.count - moe.layers * 2 * (3 * 8 * 16)  # two of four
    assert moe.model_copy(update={"active_parameters": met}).active_intermediate == 2 * 16


def test_a_given_number_of_weights_goes_over_the_counted_one():
    assert BILLION.count == 7_500_000_000
    assert BILLION.layer_parameters == (7_500_000_000 - 2 * 1_000_000 - 1000) // 10


def test_a_mixture_of_experts_is_read_from_its_configuration():
    config = {
        "model_type": "qwen3_moe", "num_hidden_layers": 2, "hidden_size": 8, "num_attention_heads": 2, "head_dim": 4,
        "num_key_value_heads": 1, "intermediate_size": 99, "moe_intermediate_size": 16, "num_experts": 4,
        "num_experts_per_tok": 2, "vocab_size": 10, "tie_word_embeddings": True,
    }  # fmt: skip
    shape = shape_of_config(config, "config.json", parameters=4000)
    assert isinstance(shape, ModelShape)
    assert (shape.experts, shape.intermediate, shape.count) == (4, 16, 4000)
    assert shape.active_parameters == 4000 - 2 * 2 * 3 * 8 * 16


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"model_type": "llama", "hidden_size": 8}, "does not say num_hidden_layers, num_attention_heads"),
        ({"model_type": "nova", "num_hidden_layers": 2, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 9}, "'nova' are not counted"),
        ({"model_type": "llama", "num_hidden_layers": 0, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16, "vocab_size": 9}, "greater than or equal to 1"),
    ],
)  # fmt: skip
def test_what_a_configuration_leaves_out_is_said(config, words):
    found = shape_of_config(config, "model.sizes")
    assert isinstance(found, Unknown)
    assert words in found.reason


def test_a_folder_without_a_configuration_is_unknown(tmp_path):
    found = shape_of_folder(tmp_path)
    assert isinstance(found, Unknown)
    assert "config.json" in found.reason


@pytest.mark.parametrize("vocab", [{"a": 0, "b": 1}, [["a", 0.0], ["b", -1.0]]])
def test_a_vocabulary_is_counted_without_the_tokenizers_library(tmp_path, vocab):
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps({"model": {"vocab": vocab}, "added_tokens": [{"content": "<pad>"}]}))
    assert vocabulary_of(TokenizerSpec(path=str(file))) == 4  # a, b, <pad>, and <eos> that the spec adds
    assert vocabulary_of(TokenizerSpec(path=str(tmp_path))) == 3
    file.write_text("{}")
    assert isinstance(vocabulary_of(TokenizerSpec(path=str(file))), Unknown)
    assert vocabulary_of(TokenizerSpec(characters="abc")) == 5
    assert isinstance(vocabulary_of(TokenizerSpec(path="acme/tokenizer")), Unknown)


# Formulas


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [("ddp", 120.0), ("zero1", 31.4), ("zero2", 16.6), ("zero3", 1.9)],
)
def test_mixed_precision_is_split_as_in_zeros_figure_1(strategy, expected):
    """7.5 billion weights on 64 ranks: 120, 31.4, 16.6 and 1.9 GB."""
    launch = LaunchConfig(strategy=strategy, processes=8, nodes=8)
    states = memory.states(BILLION, launch, "bfloat16")
    assert (states.weights + states.gradients + states.optimizer) / 1e9 == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(
    ("strategy", "precision", "weights", "gradients", "optimizer"),
    [
        ("single", "float32", 4, 4, 8),
        ("ddp", "bfloat16", 4, 4, 8),
        ("fsdp2", "float32", 1, 1, 2),
        ("fsdp2", "bfloat16", 1, 1, 2),
        ("zero1", "float32", 4, 4, 2),
        ("zero1", "bfloat16", 2, 2, 3),
        ("zero2", "bfloat16", 2, 0.5, 3),
        ("zero3", "bfloat16", 0.5, 0.5, 3),
    ],
)
def test_bytes_per_weight_of_each_strategy_on_four_ranks(strategy, precision, weights, gradients, optimizer):
    launch = LaunchConfig(strategy=strategy, processes=1 if strategy == "single" else 4)
    states = memory.states(SMALL, launch, precision)
    expected = tuple(int(1272 * each) for each in (weights, gradients, optimizer))
    assert (states.weights, states.gradients, states.optimizer, states.host) == (*expected, 0)


def test_offload_moves_to_main_memory_what_it_says():
    zero2 = memory.states(SMALL, LaunchConfig(strategy="zero2", processes=4, offload="optimizer"), "bfloat16")
    assert (zero2.weights, zero2.gradients, zero2.optimizer, zero2.host) == (2544, 0, 0, 318 * 2 + 318 * 12)
    zero3 = memory.states(SMALL, LaunchConfig(strategy="zero3", processes=4, offload="parameters"), "bfloat16")
    assert (zero3.weights, zero3.host) == (0, 318 * 2 + 318 * 2 + 318 * 12)
    fsdp2 = memory.states(SMALL, LaunchConfig(strategy="fsdp2", processes=4, offload="optimizer"), "float32")
    assert (fsdp2.weights, fsdp2.gradients, fsdp2.optimizer, fsdp2.host) == (0, 0, 0, 318 * 16)


def test_fsdp2_keeps_the_gradient_of_several_micro_batches_whole(plan):
    fsdp2 = LaunchConfig(strategy="fsdp2", processes=4)
    assert memory.states(SMALL, fsdp2, "bfloat16", accumulates=True).gradients == 4 * 1272
    assert (
        memory.states(SMALL, LaunchConfig(strategy="zero3", processes=4), "float32", accumulates=True).gradients == 1272
    )
    launch = ("launch.strategy=fsdp2", "launch.processes=2")
    assert plan(*launch)["base"].bytes["gradients"] == 4 * 1272  # four examples of each rank, two at a time
    assert plan(*launch, "stages.base.micro_batch=4")["base"].bytes["gradients"] == 2 * 1272


def test_what_the_pass_puts_together_or_casts():
    ends = 88
    assert memory.states(SMALL, LaunchConfig(), "float32").working == 0
    assert memory.states(SMALL, LaunchConfig(), "bfloat16").working == 2 * 1272
    fsdp2 = LaunchConfig(strategy="fsdp2", processes=4)
    assert memory.states(SMALL, fsdp2, "bfloat16").working == 2 * (2 * ends + 3 * 592)
    assert memory.states(SMALL, fsdp2, "float32").working == 4 * (2 * ends + 3 * 592)


def test_an_adapter_has_gradients_and_optimizer_for_what_it_trains_only():
    states = memory.states(SMALL, LaunchConfig(), "float32", trained=100)
    assert (states.weights, states.gradients, states.optimizer) == (5088, 400, 800)


def test_activations_of_a_layer_by_hand():
    """Per token: norms 24*8 + 8; q, k, v, output 4*8*4, log-sum-exp 4*2; MLP 4*16*4; mask 5*4 where rows are padded."""
    per_token = (24 * 8 + 8) + (128 + 8) + 256
    assert memory.layer_activations(SMALL, 3, 5, "float32", padded=False) == 15 * per_token
    assert memory.layer_activations(SMALL, 3, 5, "float32", padded=True) == 15 * (per_token + 20)
    low = (16 * 8 + 8) + (64 + 8) + 128
    assert memory.layer_activations(SMALL, 3, 5, "low", padded=False) == 15 * low


def test_activations_of_a_model_by_hand():
    """Beside the layers per token: ids 8, rotary 2*4*4, final norm 12*8 + 4, states and their gradient 2*8*4; one mask."""
    layers = memory.layer_activations(SMALL, 3, 5, "float32", padded=False)
    ends = 15 * (8 + 32 + 96 + 4 + 64)
    mask = 3 * 25 * 4
    assert memory.activations(SMALL, 3, 5, "float32", padded=False) == 2 * layers + ends + mask
    kept = 2 * 15 * 8 * 4 + layers
    assert memory.activations(SMALL, 3, 5, "float32", padded=False, checkpointing=True) == kept + ends + mask


def test_experts_that_a_token_does_not_meet_leave_no_activations():
    moe = SMALL.model_copy(update={"experts": 4})
    with pytest.raises(ValueError, match="active_parameters"):
        memory.layer_activations(moe, 1, 1, "float32", padded=False)


def test_logits_and_cache_by_hand():
    assert memory.logits(SMALL, 4) == 6 * 4 * 10 * 4 + 320
    assert memory.logits(SMALL, 4, teacher=True) == 9 * 4 * 10 * 4 + 320
    assert memory.kv_cache(SMALL, 100, 2) == 2 * 2 * 4 * 2 * 100


def test_launchers_in_words():
    assert launcher_of(LaunchConfig(), "collegium/in-process") == "in process"
    assert launcher_of(LaunchConfig(), "collegium/local") == "one worker, local"
    assert launcher_of(LaunchConfig(strategy="fsdp2", processes=8), "collegium/local") == "torchrun 8 ranks, fsdp2"
    assert launcher_of(LaunchConfig(strategy="zero3", processes=8, nodes=2), "x/ray") == "torchrun 2x8 ranks, zero3"


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (200 * 2**20, "200 MiB")])
def test_sizes_in_words(count, text):
    assert memory.size(count) == text


# Plans


def test_every_part_of_a_lab_stage_is_known(plan):
    needs = plan()
    assert needs["base"].parameters == needs["rl"].parameters == 1272
    assert needs["base"].unknown == needs["rl"].unknown == {}
    assert (needs["base"].tokens_per_step, needs["base"].tokens_per_rollouts) == (8 * 4, None)
    assert needs["base"].bytes["activations"] == memory.activations(SMALL, 2, 4, "float32", padded=False)
    rl = needs["rl"]
    assert (rl.launcher, rl.ranks, rl.engine, rl.model) == ("in process", 1, "collegium/transformers", "base")
    assert (rl.tokens_per_step, rl.tokens_per_rollouts) == (8 * 32, 8 * 16)
    assert rl.bytes["kv_cache"] == memory.kv_cache(SMALL, 8 * 32, 4)
    assert rl.bytes["activations"] == memory.activations(SMALL, 2, 32, "float32", padded=True)
    assert rl.bytes["sampling"] == 3 * 8 * 10 * 4 + rl.bytes["kv_cache"] // 4


def test_the_total_is_that_of_the_largest_phase(plan):
    rl = plan()["rl"]
    always = 16 * 1272 - 4 * 1272
    generate = always + rl.bytes["kv_cache"] + rl.bytes["sampling"]
    update = always + 4 * 1272 + rl.bytes["activations"] + rl.bytes["logits"]
    assert (rl.phase("generate"), rl.phase("update")) == (generate, update)
    assert (rl.peak, rl.total) == ("update", max(generate, update))


def test_ranks_share_the_batch_and_each_rank_has_its_micro_batch(plan):
    rl = plan("launch.strategy=ddp", "launch.processes=8")["rl"]
    assert rl.tokens_per_step == 8 * 32
    assert rl.bytes["activations"] == memory.activations(SMALL, 1, 32, "float32", padded=True)
    assert rl.bytes["kv_cache"] == memory.kv_cache(SMALL, 32, 4)


def test_where_weights_are_split_the_engine_has_a_whole_copy_and_loading_needs_the_whole_model(plan):
    rl = plan("launch.strategy=fsdp2", "launch.processes=8")["rl"]
    assert rl.bytes["weights"] == 1272 * 4 / 8
    assert rl.bytes["loading"] == rl.bytes["engine_weights"] == 1272 * 4
    assert "engine_weights" in rl.parts_of("update")


def test_a_hub_model_is_unknown_until_the_recipe_gives_its_shape(plan):
    unknown = plan("stages.sft.init_from=hub")["rl"]
    assert unknown.total is None
    assert "give models.hub.shape" in unknown.unknown["weights"]
    known = plan("stages.sft.init_from=sized")["rl"]
    assert (known.model, known.parameters) == ("sized", 1272)


def test_stages_that_the_core_does_not_know_are_unknown_in_words(plan):
    needs = plan(extra="  odd: {use: odd, init_from: sft}\n  step: {use: step, init_from: sft}\n")
    assert needs["odd"].total is None
    assert "acme-train/odd takes no optimizer steps" in needs["odd"].unknown["stage"]
    step = needs["step"]
    assert step.bytes["optimizer"] == 8 * 1272
    assert step.bytes["activations"] is step.tokens_per_step is None
    assert "does not know the batches of acme-train/step" in step.unknown["activations"]


def test_a_rollout_stage_without_a_context_has_no_bound(plan):
    needs = plan("stages.sft.init_from=sized", "models.sized.shape.context=null")["rl"]
    assert "context is not given" in needs.unknown["activations"]
    bounded = plan(
        "stages.sft.init_from=sized",
        "models.sized.shape.context=null",
        "stages.rl.engine.use=own",
        "stages.rl.engine.max_model_len=20",
    )["rl"]
    assert bounded.tokens_per_step == 8 * 20


def test_an_engine_with_weights_of_its_own_holds_them_and_its_cache_unless_it_sleeps(plan):
    own = ("stages.rl.engine.use=own", "stages.rl.engine.tensor_parallel_size=2")
    rl = plan(*own)["rl"]
    assert rl.bytes["engine_weights"] == 1272 * 4 // 2
    assert rl.bytes["kv_cache"] == memory.kv_cache(SMALL, 8 * 32, 4) // 2
    assert {"engine_weights", "kv_cache"} <= set(rl.parts_of("update"))
    asleep = plan(*own, "stages.rl.engine.sleep_between=true")["rl"]
    assert "kv_cache" not in asleep.parts_of("update")
    reserved = plan(*own, "launch.device_memory_gb=1", "stages.rl.engine.dtype=bfloat16")["rl"]
    assert reserved.bytes["engine_weights"] + reserved.bytes["kv_cache"] == 2**29
    stated = plan(*own, "stages.rl.engine.kv_cache_gb=0.25")["rl"]
    assert stated.bytes["kv_cache"] == 2**28


def test_an_engine_elsewhere_takes_nothing_and_a_strange_one_is_unknown(plan):
    served = plan("stages.rl.engine.use=acme-train/served", "stages.rl.engine.url=http://there")["rl"]
    assert served.bytes["kv_cache"] == served.bytes["engine_weights"] == 0
    strange = plan("stages.rl.engine=strange")["rl"]
    assert strange.bytes["kv_cache"] is None
    assert "what the engine acme-train/strange holds" in strange.unknown["kv_cache"]
    assert strange.total is not None


STUDENT = "  student: {use: roll, init_from: sft, router: by-label, prompts: 4, group: 2, sampling: {max_tokens: 16}, teachers: {math: %s}%s}\n"


def test_the_largest_teacher_is_resident_and_all_of_them_wait_in_main_memory(plan):
    student = plan(extra=STUDENT % ("{stage: rl}, more: self", ""))["student"]
    assert student.bytes["teachers"] == 1272 * 4
    assert student.host == 2 * 1272 * 4


def test_a_loss_over_the_vocabulary_keeps_the_teachers_states_and_heads(plan):
    student = plan(extra=STUDENT % ("{stage: rl}", ", loss: whole"))["student"]
    states = 8 * 16 * 8 * 4
    assert student.bytes["teachers"] == 1272 * 4 + states
    assert student.host == 1272 * 4 + states + 80 * 4
    assert student.bytes["logits"] == 9 * 4 * 10 * 4 + 2 * 80 * 4


def test_a_served_teacher_takes_nothing_and_a_strange_one_is_unknown(plan):
    served = plan(extra=STUDENT % ("{use: far, url: 'http://there'}", ""))["student"]
    assert (served.bytes["teachers"], served.host) == (0, 0)
    strange = plan(extra=STUDENT % ("{use: near}", ""))["student"]
    assert strange.bytes["teachers"] is strange.host is None
    hub = plan(extra=STUDENT % ("{use: checkpoint, path: acme/model-7b}", ""))["student"]
    assert "give models.NAME.shape" in hub.unknown["teachers"]
    sized = plan(extra=STUDENT % ("{use: checkpoint, path: acme/model-1b}", ""))["student"]
    assert sized.bytes["teachers"] == 1272 * 2  # the checkpoint's bfloat16


def test_a_reference_counts_where_the_edge_or_the_loss_asks_for_one(plan):
    assert plan()["rl"].bytes["reference"] == 0
    assert plan("stages.rl.reference=base")["rl"].bytes["reference"] == 1272 * 4
    assert plan("stages.rl.loss=held")["rl"].bytes["reference"] == 1272 * 4


def test_a_stage_that_needs_more_than_its_device_is_a_warning_that_says_what_to_lower(plan):
    rl = plan("launch.device_memory_gb=0.00001")["rl"]
    assert rl.warning is not None
    assert "more than the device's 10.5 KiB; most is activations" in rl.warning
    assert "lower micro_batch" in rl.warning
    assert plan("launch.device_memory_gb=1")["rl"].warning is None
    loading = plan("launch.device_memory_gb=0.00001", "launch.strategy=zero3", "launch.processes=8")["base"]
    assert loading.warning is not None
    with pytest.raises(RecipeError, match="device_memory_gb"):
        plan("launch.device_memory_gb=0")


# The command


def cli(*arguments, cwd):
    done = subprocess.run(
        [sys.executable, "-m", "collegium", *map(str, arguments)], capture_output=True, text=True, cwd=cwd
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_command_prints_what_each_stage_needs_and_warns(plan, recipe_file, tmp_path):
    path = recipe_file(text=RECIPE + "  odd: {use: odd, init_from: sft}\n", name="sized.yaml")
    text = cli("plan", path, "launch.device_memory_gb=0.00001", cwd=tmp_path)
    for words in ("resources", "in process", "transformers", "256", "128 sampled", "KV cache", "optimizer 9.9 KiB"):
        assert words in text, words
    assert "WARNING: rl: needs" in text
    assert "unknown for odd: acme-train/odd takes no optimizer steps" in text
    described = json.loads(cli("plan", path, "--json", cwd=tmp_path))
    needs = {stage["id"]: stage["resources"] for stage in described["stages"]}
    assert needs["rl"]["device_bytes"]["optimizer"] == 8 * 1272
    assert needs["rl"]["device_bytes"]["total"] == sum(
        needs["rl"]["device_bytes"][part] for part in ("weights", "optimizer", "gradients", "activations", "logits")
    )
    assert (needs["rl"]["launcher"], needs["rl"]["ranks"], needs["rl"]["peak"]) == ("in process", 1, "update")
    assert needs["odd"]["device_bytes"]["total"] is None
