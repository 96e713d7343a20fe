"""What a plan says that each stage needs: formulas by hand, and the words and numbers of the command."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from collegium.errors import RecipeError
from collegium.planning import make_plan, memory
from collegium.planning.estimate import estimate
from collegium.planning.resources import StageResources
from collegium.plugins import Registry
from collegium.recipe import load_recipe
from collegium.recipe.shape import ModelShape

SMALL = ModelShape(layers=2, hidden=8, heads=2, kv_heads=1, head_dim=4, intermediate=16, vocabulary=10, tied=True)
"""A layer: 2*8*(8+4) attention, 3*8*16 MLP, 2*8 norms = 592; all: 2*592 + 10*8 + 8 = 1272."""

PLUGIN = """
from collegium import component, hookimpl

@hookimpl
def register_stages():
    return [
        component("make", "acme_train.none:X", "Make a model.", config="acme_train.configs:MakeConfig"),
        component("tune", "acme_train.none:X", "Supervised.", config="acme_train.configs:TuneConfig"),
        component("roll", "acme_train.none:X", "Rollouts.", config="acme_train.configs:RollConfig"),
        component("step", "acme_train.none:X", "Steps.", config="acme_train.configs:StepConfig"),
        component("valued", "acme_train.none:X", "With a model of its own.", config="acme_train.configs:ValuedConfig"),
        component("actor", "acme_train.none:X", "Two models.", config="acme_train.configs:ActorConfig"),
        component("rm", "acme_train.none:X", "A reward model.", config="acme_train.configs:RmConfig"),
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
def register_rewards():
    return [component("scored", "acme_train.none:X", "With models.", config="acme_train.configs:ScoredConfig"),
            component("mixed", "acme_train.none:X", "Of others.", config="acme_train.configs:MixedConfig"),
            component("folder", "acme_train.none:X", "A folder.", config="acme_train.configs:FolderConfig")]

@hookimpl
def register_losses():
    return [component("whole", "acme_train.none:X", "Over the vocabulary.", config="acme_train.configs:WholeConfig"),
            component("held", "acme_train.none:X", "With a reference.", config="acme_train.configs:HeldConfig")]
"""
CONFIGS = """
from collegium import Config, StageConfig, Use, UseLoss, UseReward, UseRouter
from collegium.kinds.reward import RewardConfig
from collegium.training.model_spec import ModelSpec
from collegium.training.optimizer_config import OptimizerConfig
from collegium.training.rollout_config import RolloutConfig
from collegium.training.supervised_config import SupervisedConfig
from typing import ClassVar, Literal

class Adapter(Config):
    rank: int = 2
    quantise: str = "none"

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
    adapter: Adapter | None = None

class StepConfig(OptimizerConfig):
    adapter: Adapter | None = None

class ValuedConfig(OptimizerConfig):
    loads_whole: ClassVar = True

class RmConfig(OptimizerConfig):
    produces: ClassVar = "reward_model"

class ActorConfig(RolloutConfig):
    accepts: ClassVar = frozenset({"reference", "reward_models"})
    adapter: Adapter | None = None
    reward: UseReward = Use(use="collegium/domain-verifier")

    def trains_beside(self, inputs):
        return inputs.get("reward_models", inputs["init_from"])[:1]

class ScoredConfig(RewardConfig):
    models: list[str] = []
    count: int = 1
    offload: str = "none"

    def models_needed(self):
        return 0 if self.models else self.count

class MixedConfig(RewardConfig):
    parts: list[UseReward]

class FolderConfig(Config):
    path: str
    dtype: str = "auto"
    device: str = "auto"

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


def test_fsdp2_keeps_its_part_of_the_gradient_however_many_micro_batches_there_are(plan):
    launch = ("launch.strategy=fsdp2", "launch.processes=2")
    assert plan(*launch)["base"].bytes["gradients"] == 2 * 1272
    assert plan(*launch, "stages.base.micro_batch=4")["base"].bytes["gradients"] == 2 * 1272


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


SPLIT = ("launch.strategy=fsdp2", "launch.processes=8")
ENDS, LAYER = 88, 592
"""Of the 1272 weights: embeddings (the head, too) with the final norm, and a layer."""


def test_where_weights_are_split_the_engine_has_a_whole_copy(plan):
    rl = plan(*SPLIT)["rl"]
    assert rl.bytes["weights"] == 1272 * 4 / 8
    assert rl.bytes["engine_weights"] == 1272 * 4
    assert "engine_weights" in rl.parts_of("update")


def test_where_weights_are_split_the_first_rank_alone_loads_in_main_memory(plan):
    rl = plan(*SPLIT)["rl"]
    assert rl.bytes["loading"] == 1272 * 4 / 8 + 1272 * 4  # its share, and all of so small a model on its way
    assert rl.host_first == {"loading": 1272 * 4, "checkpoint": 1272 * 12}
    assert plan()["rl"].host_first == {}
    large = plan(*SPLIT, "models.sized.shape.parameters=8000000000", "stages.sft.init_from=sized")["rl"]
    assert large.bytes["loading"] == 4_000_000_000 + 2**30
    assert large.host_first["loading"] == 32_000_000_000
    offloaded = plan(*SPLIT, "launch.offload=parameters")["rl"]
    assert offloaded.bytes["loading"] == 1272 * 4


def test_an_adapter_and_stages_that_say_so_load_the_whole_model_on_each_device(plan):
    adapter = plan(*SPLIT, "stages.rl.adapter.rank=2")["rl"]
    assert adapter.bytes["loading"] == 1272 * 4
    assert adapter.host_first == {"checkpoint": 12 * memory.adapter_weights(SMALL, 2)}
    valued = plan(*SPLIT, extra="  valued: {use: valued, init_from: sft}\n")["valued"]
    assert valued.bytes["loading"] == 1272 * 4


def test_where_weights_are_split_so_is_the_reference_and_scoring_puts_layers_together(plan):
    held = plan(*SPLIT, "stages.rl.loss=held")["rl"]
    assert held.bytes["reference"] == 1272 * 4 / 8
    policy = ENDS * 4
    assert held.bytes["scoring"] == policy + (ENDS + 2 * LAYER) * 4
    assert "scoring" in held.parts_of("score")
    assert "scoring" not in held.parts_of("update")
    low = plan(*SPLIT, "stages.rl.precision=bfloat16")["rl"]
    assert low.bytes["scoring"] == (ENDS + 2 * LAYER) * 2
    assert plan("stages.rl.loss=held")["rl"].bytes["scoring"] == 0


def test_where_weights_are_split_so_are_local_teachers_unless_a_thread_asks_them(plan):
    student = plan(*SPLIT, extra=STUDENT % ("{stage: rl}, more: self", ""))["student"]
    assert student.bytes["teachers"] == 1272 * 4 / 8
    assert student.host == 2 * 1272 * 4 / 8
    assert student.bytes["scoring"] == ENDS * 4 + (ENDS + 2 * LAYER) * 4
    ahead = plan(*SPLIT, extra=STUDENT % ("{stage: rl}", ", staleness: 1"))["student"]
    assert ahead.bytes["teachers"] == 1272 * 4
    assert ahead.bytes["scoring"] == (ENDS + 2 * LAYER) * 4


@pytest.mark.parametrize("launch", [(), ("launch.strategy=ddp", "launch.processes=2")])
def test_an_adapters_stage_samples_with_a_plain_copy(plan, launch):
    rl = plan(*launch, "stages.rl.adapter.rank=2")["rl"]
    assert rl.bytes["engine_weights"] == rl.bytes["syncing"] == 4 * 1272
    assert "engine_weights" in rl.parts_of("update")
    held = sum(rl.bytes[part] for part in ("weights", "optimizer", "buckets"))
    assert rl.phase("sync") == held + 2 * 4 * 1272
    whole = plan(*launch)["rl"]
    assert whole.bytes["engine_weights"] == whole.bytes["syncing"] == 0


def test_ddp_holds_its_buckets_in_every_phase_after_loading(plan):
    rl = plan("launch.strategy=ddp", "launch.processes=2")["rl"]
    assert rl.bytes["buckets"] == 4 * 1272
    assert all("buckets" in rl.parts_of(phase) for phase in ("generate", "score", "update"))


def test_rollouts_ahead_are_made_during_the_update_from_copies_that_wait_in_main_memory(plan):
    here, ahead = plan()["rl"], plan("stages.rl.staleness=2")["rl"]
    assert (here.host, ahead.host) == (0, 3 * 4 * 1272)
    assert ahead.bytes["ahead"] == 4 * 1272
    added = ahead.bytes["kv_cache"] + ahead.bytes["sampling"]
    assert ahead.phase("generate") == ahead.phase("update") + added == here.phase("update") + 4 * 1272 + added
    assert (ahead.peak, ahead.total) == ("generate", ahead.phase("generate"))
    split = plan("stages.rl.staleness=2", "launch.strategy=fsdp2", "launch.processes=8")["rl"]
    assert split.bytes["engine_weights"] == split.bytes["syncing"] == 0  # `ahead` is the copy
    assert split.host == ahead.host


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


def test_an_adapter_is_what_is_trained(plan):
    step = plan(extra="  step: {use: step, init_from: sft, adapter: {rank: 2}}\n")["step"]
    trained = memory.adapter_weights(SMALL, 2)
    assert (step.bytes["weights"], step.bytes["gradients"], step.bytes["optimizer"]) == (
        4 * (1272 + trained),
        4 * trained,
        8 * trained,
    )


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


ACTOR = """  rm: {use: rm, init_from: sized}
  actor: {use: actor, init_from: sft, prompts: 4, group: 2, micro_batch: 2, sampling: {max_tokens: 16}%s}
"""


def test_a_model_that_is_trained_beside_keeps_its_own_weights_and_optimizer(plan):
    rl, actor = (needs := plan(extra=ACTOR % ""))["rl"], needs["actor"]
    assert actor.bytes["beside"] == 12 * 1272
    assert actor.bytes["loading"] == 2 * 4 * 1272
    for name in ("weights", "gradients", "activations", "logits", "optimizer"):  # the two are updated in turn
        assert actor.bytes[name] == rl.bytes[name]
    assert actor.phase("update") == rl.phase("update") + 12 * 1272
    split = plan(*SPLIT, extra=ACTOR % "")["actor"]
    assert split.bytes["beside"] == 12 * 1272 / 8
    assert split.bytes["loading"] == 2 * 1272 * 4 / 8 + 1272 * 4
    assert split.bytes["scoring"] == (2 * ENDS + 2 * LAYER) * 4
    assert split.host_first == {"loading": 1272 * 4, "checkpoint": 2 * 1272 * 12}  # one after the other
    replicated = plan("launch.strategy=ddp", "launch.processes=2", extra=ACTOR % "")["actor"]
    assert replicated.bytes["beside"] == 16 * 1272
    adapter = plan(*SPLIT, extra=ACTOR % ", adapter: {rank: 2}")["actor"]
    assert adapter.bytes["loading"] == 2 * 4 * 1272


def test_a_larger_model_that_is_trained_beside_decides_what_the_update_holds(plan):
    wide = "models.sized.shape.intermediate=64"
    actor = plan(wide, extra=ACTOR % ", reward_models: rm")["actor"]
    larger = SMALL.model_copy(update={"intermediate": 64, "context": 32})
    assert actor.bytes["gradients"] == 4 * larger.count
    assert actor.bytes["activations"] == memory.activations(larger, 2, 32, "float32", padded=True)
    unknown = plan("stages.rm.init_from=hub", extra=ACTOR % ", reward_models: rm")["actor"]
    assert "give models.hub.shape" in unknown.unknown["beside"]
    assert unknown.total is not None


@pytest.mark.parametrize("launch", [(), SPLIT])
def test_reward_models_are_whole_on_the_first_ranks_device_all_the_time(plan, launch):
    scored = ", reward_models: rm, reward: scored"
    actor = plan(*launch, extra=ACTOR % scored)["actor"]
    assert actor.bytes["reward_models"] == 4 * 1272
    assert all("reward_models" in actor.parts_of(phase) for phase in ("generate", "judge", "score", "update"))
    assert plan(*launch, extra=ACTOR % ", reward_models: rm")["actor"].bytes["reward_models"] == 0
    two = ", reward_models: [rm, rl], reward: {use: mixed, parts: [{use: scored, count: 2}, domain-verifier]}"
    with_parts = plan(*launch, extra=ACTOR % two)["actor"]
    assert with_parts.bytes["reward_models"] == 2 * 4 * 1272
    named = ", reward: {use: scored, models: [acme/model-1b]}"
    assert plan(*launch, extra=ACTOR % named)["actor"].bytes["reward_models"] == 4 * 1272
    hub = plan(*launch, extra=ACTOR % ", reward: {use: scored, models: [acme/model-7b]}")["actor"]
    assert "give models.NAME.shape" in hub.unknown["reward_models"]


def test_reward_models_that_wait_in_main_memory_have_one_layer_on_the_device_while_they_judge(plan):
    scored = ", reward_models: rm, reward: {use: scored, offload: cpu}"
    actor = plan(extra=ACTOR % scored)["actor"]
    assert actor.bytes["reward_models"] == 2 * 8 * 4  # the final norm and the head
    assert actor.bytes["judging"] == LAYER * 4
    assert "judging" not in actor.parts_of("update")
    assert actor.host_first == {"reward_models": 4 * 1272}


def test_a_reward_source_with_a_folder_has_its_checkpoints_precision(plan):
    folder = ", reward: {use: folder, path: acme/model-1b%s}"
    assert plan(extra=ACTOR % (folder % ""))["actor"].bytes["reward_models"] == 2 * 1272
    assert plan(extra=ACTOR % (folder % ", dtype: float32"))["actor"].bytes["reward_models"] == 4 * 1272
    away = plan(extra=ACTOR % (folder % ", device: cpu"))["actor"]
    assert (away.bytes["reward_models"], away.host_first) == (0, {"reward_models": 2 * 1272})


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
    ahead = plan(extra=STUDENT % ("{stage: rl}", ", loss: whole, staleness: 2"))["student"]
    assert ahead.bytes["teachers"] == student.bytes["teachers"]
    assert ahead.host == 1272 * 4 + 3 * (states + 80 * 4) + 3 * 4 * 1272


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
    loading = plan("launch.device_memory_gb=0.00001", "launch.strategy=fsdp2", "launch.processes=8")["base"]
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
