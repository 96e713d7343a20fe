"""The formulas of memory, by hand."""

from __future__ import annotations

import pytest

from collegium.launch_config import LaunchConfig
from collegium.planning import memory
from collegium.planning.resources import launcher_of
from collegium.recipe.shape import ModelShape

SMALL = ModelShape(layers=2, hidden=8, heads=2, kv_heads=1, head_dim=4, intermediate=16, vocabulary=10, tied=True)
"""A layer: 2*8*(8+4) attention, 3*8*16 MLP, 2*8 norms = 592; all: 2*592 + 10*8 + 8 = 1272."""
BILLION = ModelShape(layers=10, hidden=1000, heads=10, intermediate=4000, vocabulary=1000, parameters=7_500_000_000)
"""The model of ZeRO's figure 1."""


@pytest.mark.parametrize(
    ("strategy", "expected", "wider"),
    [("ddp", 120.0, 1), ("zero1", 31.4, 3), ("zero2", 16.6, 2), ("zero3", 1.9, 2)],
)
def test_mixed_precision_is_split_as_in_zeros_figure_1(strategy, expected, wider):
    """7.5 billion weights on 64 ranks: 120, 31.4, 16.6 and 1.9 GB, with gradients of 2 bytes; ours are wider."""
    launch = LaunchConfig(strategy=strategy, processes=8, nodes=8)
    states = memory.states(BILLION, launch, "bfloat16")
    assert (states.weights + states.gradients / wider + states.optimizer) / 1e9 == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(
    ("strategy", "precision", "weights", "gradients", "optimizer"),
    [
        ("single", "float32", 4, 4, 8),
        ("ddp", "bfloat16", 4, 4, 8),
        ("fsdp2", "float32", 1, 1, 2),
        ("fsdp2", "bfloat16", 1, 1, 2),
        ("zero1", "float32", 4, 4, 3),
        ("zero2", "float32", 4, 1, 3),
        ("zero3", "float32", 1, 1, 2),
        ("zero1", "bfloat16", 2, 6, 3),
        ("zero2", "bfloat16", 2, 1, 3),
        ("zero3", "bfloat16", 0.5, 1, 3),
    ],
)
def test_bytes_per_weight_of_each_strategy_on_four_ranks(strategy, precision, weights, gradients, optimizer):
    launch = LaunchConfig(strategy=strategy, processes=1 if strategy == "single" else 4)
    states = memory.states(SMALL, launch, precision)
    expected = tuple(int(1272 * each) for each in (weights, gradients, optimizer))
    assert (states.weights, states.gradients, states.optimizer, states.host) == (*expected, 0)


def test_offload_moves_to_main_memory_what_it_says():
    zero2 = memory.states(SMALL, LaunchConfig(strategy="zero2", processes=4, offload="optimizer"), "bfloat16")
    buffer = 318 * 2
    assert (zero2.weights, zero2.gradients, zero2.optimizer, zero2.host) == (2544, 0, 0, 318 * (4 + 12) + buffer)
    wide = memory.states(SMALL, LaunchConfig(strategy="zero3", processes=4, offload="parameters"), "float32")
    assert (wide.weights, wide.host) == (0, 318 * (4 + 4 + 12))
    zero3 = memory.states(SMALL, LaunchConfig(strategy="zero3", processes=4, offload="parameters"), "bfloat16")
    assert (zero3.weights, zero3.host) == (0, 318 * (2 + 4 + 12))
    fsdp2 = memory.states(SMALL, LaunchConfig(strategy="fsdp2", processes=4, offload="optimizer"), "float32")
    assert (fsdp2.weights, fsdp2.gradients, fsdp2.optimizer, fsdp2.host) == (0, 0, 0, 318 * 16)


def test_what_the_pass_puts_together_or_casts():
    ends = 88
    assert memory.states(SMALL, LaunchConfig(), "float32").working == 0
    assert memory.states(SMALL, LaunchConfig(), "bfloat16").working == 2 * 1272
    fsdp2 = LaunchConfig(strategy="fsdp2", processes=4)
    assert memory.states(SMALL, fsdp2, "bfloat16").working == 2 * (2 * ends + 3 * 592)
    assert memory.states(SMALL, fsdp2, "float32").working == 4 * (2 * ends + 3 * 592)


def test_an_adapter_has_gradients_and_optimizer_for_what_it_trains_only():
    states = memory.states(SMALL, LaunchConfig(), "float32", trained=100)
    assert (states.weights, states.gradients, states.optimizer) == (5088 + 400, 400, 800)


def test_ddp_has_a_second_set_of_gradients_and_the_others_have_none():
    ddp = LaunchConfig(strategy="ddp", processes=2)
    assert memory.states(SMALL, ddp, "bfloat16").buckets == 4 * 1272
    assert memory.states(SMALL, ddp, "float32", trained=100).buckets == 400
    for strategy in ("fsdp2", "zero1", "zero2", "zero3"):
        assert memory.states(SMALL, LaunchConfig(strategy=strategy, processes=2), "float32").buckets == 0
    assert memory.states(SMALL, LaunchConfig(), "float32").buckets == 0


def test_deepspeed_in_bfloat16_leaves_frozen_weights_in_main_memory():
    for strategy in ("zero1", "zero2", "zero3"):
        launch = LaunchConfig(strategy=strategy, processes=4)
        assert memory.states(SMALL, launch, "bfloat16", trained=100).host == 4 * 1272
        assert memory.states(SMALL, launch, "float32", trained=100).host == 0
        assert memory.states(SMALL, launch, "bfloat16").host == 0
    offloaded = LaunchConfig(strategy="zero2", processes=4, offload="optimizer")
    assert memory.states(SMALL, offloaded, "bfloat16", trained=100).host == 25 * (4 + 12 + 2) + 4 * 1272


def test_the_weights_of_an_adapter_by_hand():
    assert memory.adapter_weights(SMALL, 2) == 2 * 2 * (2 * (8 + 8) + 2 * (8 + 4) + 3 * (8 + 16))


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
